"""The requests of this process that are not answered yet: a stop waits for them."""

from __future__ import annotations

import asyncio

from chatserver.errors import UnavailableError


class OpenRequests:
    """A request is open once it has arrived whole, until the socket has taken its response or its client is gone."""

    def __init__(self) -> None:
        self._open: set[object] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def add(self, request: object) -> None:
        """Raises UnavailableError when none is taken any more: what could not be answered is not to be carried out."""
        if self._closed:
            raise UnavailableError("The server is stopping")
        self._open.add(request)
        self._empty.clear()

    def discard(self, request: object) -> None:
        """It is answered. May be called again."""
        self._open.discard(request)
        if not self._open:
            self._empty.set()

    def close(self) -> None:
        """Take no more. What a client sent ahead on its connection may still lie in a buffer here."""
        self._closed = True

    async def finish(self) -> None:
        """Wait until none is open, and take no more from that moment on."""
        while self._open:
            await self.wait_empty()
        self.close()

    async def wait_empty(self) -> None:
        """Until none is open. Connections without a request do not count."""
        await self._empty.wait()
