"""The open requests of this process: a stop waits for them."""

from __future__ import annotations

import asyncio

from chatserver.errors import UnavailableError


class OpenRequests:
    """A request is open from its last byte until the socket has taken its response, or the client is gone."""

    def __init__(self) -> None:
        self._open: set[object] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def add(self, request: object) -> None:
        """Count a request. Raises UnavailableError after `close`: the response could no longer be sent."""
        if self._closed:
            raise UnavailableError("The server is stopping")
        self._open.add(request)
        self._empty.clear()

    def discard(self, request: object) -> None:
        """The response to a request was sent. May be called again."""
        self._open.discard(request)
        if not self._open:
            self._empty.set()

    def close(self) -> None:
        """Refuse further requests: pipelined ones may still wait in Tornado's buffers."""
        self._closed = True

    async def finish(self) -> None:
        """Wait until no request is open, and take no more from that moment on."""
        while self._open:
            await self.wait_empty()
        self.close()

    async def wait_empty(self) -> None:
        """Wait until no request is open. Connections without a request do not count."""
        await self._empty.wait()
