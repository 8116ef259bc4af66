"""Search over HTTP."""

from __future__ import annotations

from chatserver.web.base import ApiHandler
from chatserver.web.parsing import parse_id
from chatserver.web.queries import Search


class SearchHandler(ApiHandler):
    async def get(self, company_id: str) -> None:
        company, query = parse_id(company_id), self.query(Search)
        page = await self.services.search.search(self.actor, company, query.q, limit=query.limit, cursor=query.cursor)
        await self.write_page(page)
