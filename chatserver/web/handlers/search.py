"""Search over HTTP."""

from __future__ import annotations

from chatserver.services.access import Need
from chatserver.web.http.list_handler import ListHandler
from chatserver.web.http.parsing import parse_id
from chatserver.web.openapi.queries import Search


class SearchHandler(ListHandler, GET=Need.READER):
    async def get(self, company_id: str) -> None:
        company, query = parse_id(company_id), self.query(Search)
        pages = self.context.search.search(
            self.actor, company, query.q, archived=query.archived, limit=query.limit, cursor=query.cursor
        )
        await self.write_list(pages, company)
