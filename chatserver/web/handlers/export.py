"""The export of a conversation, as a download."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from uuid import UUID

from chatserver.services.access import Need
from chatserver.services.export_formats import Format
from chatserver.web.http.filenames import content_disposition
from chatserver.web.http.long_request_handler import LongRequestHandler
from chatserver.web.http.parsing import parse_id
from chatserver.web.openapi.queries import ExportConversation

# by format: Content-Type, and extension of the file name
FILES: dict[Format, tuple[str, str]] = {
    "markdown": ("text/markdown; charset=utf-8", "md"),
    "json": ("application/json", "json"),
}


class ExportHandler(LongRequestHandler, GET=Need.READER):
    timed: bool = False  # its duration depends on the client

    async def get(self, conversation_id: str) -> None:
        conversation, query = parse_id(conversation_id), self.query(ExportConversation)
        with self.context.streams.admitted(self):
            async with self.context.company_streams.counted(self.actor, conversation):
                await self._export(conversation, query.format)

    async def _export(self, conversation: UUID, format_name: Format) -> None:
        export = await self.context.export.open_export(self.actor, conversation, format_name)
        only_head = self.request.method == "HEAD"
        async with aclosing(export.chunks(to_nobody=only_head)) as chunks:
            first = await self.unless_gone(_first(chunks))  # failures come before the first byte
            content_type, extension = FILES[format_name]
            self.set_header("Content-Type", content_type)
            self.set_header("Content-Disposition", content_disposition(export.title, extension))
            self.begin_body()
            if only_head:
                await self.flush()
                self.finish()
                return
            body = _joined(first, chunks)
            del first  # the client may take its time
            await self.send_all(body, "an export")


async def _first(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks)


async def _joined(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    del first
    async for chunk in chunks:
        yield chunk
