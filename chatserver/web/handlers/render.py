"""Markdown texts as HTML over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from chatserver.services.access import Need
from chatserver.services.rendering import RenderText
from chatserver.web.http.large_body_handler import SMALL_BODY_BYTES, LargeBodyHandler
from chatserver.web.http.parsing import parse_id


class RenderHandler(LargeBodyHandler, POST=Need.READER):
    async def post(self, company_id: str) -> None:
        company, text = parse_id(company_id), self.body(RenderText)
        blocks = await self.unless_gone(self.context.rendering.render_blocks(self.actor, company, text))
        body = b'{"blocks":%b}' % (blocks or "null").encode()
        self.set_header("Content-Type", "application/json")
        if len(body) <= SMALL_BODY_BYTES:
            self.finish(body)
        else:
            await self.send_large(company, _whole(body), "a rendered text")


async def _whole(body: bytes) -> AsyncGenerator[bytes]:
    yield body
