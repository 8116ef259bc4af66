"""The base of handlers whose work may take long: it ends when the client leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from tornado.iostream import StreamClosedError

from chatserver.errors import ChatServerError
from chatserver.web.handler_context import HandlerContext
from chatserver.web.http.streaming_handler import StreamingHandler

T = TypeVar("T")

logger = logging.getLogger(__name__)

# A body is sent in pieces of so many bytes: no more of it waits for a slow reader.
PIECE_BYTES = 1 << 16


class LongRequestHandler(StreamingHandler):
    """`unless_gone` is for work before the first byte and between two pieces, `send_all` for the body."""

    timed: bool = True

    def initialize(self, context: HandlerContext) -> None:
        super().initialize(context)
        self._work: asyncio.Task[Any] | None = None

    def wake(self) -> None:
        if self.gone and self._work is not None:
            self._work.cancel()

    async def unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled when the client leaves. Raises StreamClosedError then."""
        self.watch_peer()
        self._work = task = asyncio.ensure_future(work)
        self.wake()
        try:
            return await task
        except asyncio.CancelledError:
            if not self.gone:
                task.cancel()
                raise
            raise StreamClosedError from None
        finally:
            self._work = None

    async def send_all(self, body: AsyncGenerator[bytes], what: str) -> None:
        """Send a body piece by piece, and end the response. If it cannot be completed, it is cut off.

        `what` names the response in the log.
        """
        try:
            async with aclosing(body):
                while (chunk := await self.unless_gone(_next(body))) is not None:
                    self._keeps(len(chunk))
                    for begin in range(0, len(chunk), PIECE_BYTES):
                        if self.gone or self.context.streams.closing:
                            raise StreamClosedError
                        await self.send(chunk[begin : begin + PIECE_BYTES])
        except StreamClosedError:
            self.cut_off()
        except ChatServerError as error:
            logger.warning("%s is cut off: %s", what, error.message)
            self.cut_off()
        except Exception:
            # The response has begun: it can only be cut off, so that nobody takes it for complete.
            logger.exception("%s is cut off", what)
            self.cut_off()
        else:
            self.end_body()
        finally:
            self._keeps(0)

    def _keeps(self, body_bytes: int) -> None:
        if self._stream is not None:
            self._stream.body_bytes = body_bytes


async def _next(body: AsyncIterator[bytes]) -> bytes | None:
    return await anext(body, None)
