"""The export of a conversation, as a download."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from tornado.iostream import StreamClosedError

from chatserver.errors import ChatServerError
from chatserver.services.export_formats import Format
from chatserver.web.http.filenames import content_disposition
from chatserver.web.http.parsing import parse_id
from chatserver.web.http.streaming_handler import StreamingHandler
from chatserver.web.openapi.queries import ExportConversation

logger = logging.getLogger(__name__)

# A client that takes less than this within slow_reader_seconds is too slow.
PIECE_BYTES = 1 << 16

# by format: Content-Type, and extension of the file name
FILES: dict[Format, tuple[str, str]] = {
    "markdown": ("text/markdown; charset=utf-8", "md"),
    "json": ("application/json", "json"),
}


class ExportHandler(StreamingHandler):
    async def get(self, conversation_id: str) -> None:
        conversation, query = parse_id(conversation_id), self.query(ExportConversation)
        with self.context.streams.admitted(self):
            export = await self.context.export.open_export(self.actor, conversation, query.format)
            async with aclosing(export.chunks()) as chunks:
                first = await anext(chunks)  # failures come before the first byte
                content_type, extension = FILES[query.format]
                self.set_header("Content-Type", content_type)
                self.set_header("Content-Disposition", content_disposition(export.title, extension))
                self.begin_body()
                if self.request.method == "HEAD":
                    await self.flush()
                    self.finish()
                    return
                await self._send_all(first, chunks)

    async def _send_all(self, first: bytes, chunks: AsyncIterator[bytes]) -> None:
        try:
            await self._send_chunk(first)
            async for chunk in chunks:
                await self._send_chunk(chunk)
        except StreamClosedError:
            self.cut_off()
        except TimeoutError:
            self.context.metrics.slow_readers.inc()
            logger.info("an export is cut off: its reader is too slow")
            self.cut_off()
        except ChatServerError as error:
            logger.warning("an export is cut off: %s", error.message)
            self.cut_off()
        except Exception:
            # The response has begun: it can only be cut off, so that nobody takes it for complete.
            logger.exception("an export is cut off")
            self.cut_off()
        else:
            self.end_body()

    async def _send_chunk(self, chunk: bytes) -> None:
        for begin in range(0, len(chunk), PIECE_BYTES):
            if self.gone or self.context.streams.closing:
                raise StreamClosedError
            await self.send(chunk[begin : begin + PIECE_BYTES])
