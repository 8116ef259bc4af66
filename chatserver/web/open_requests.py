"""The requests of this process that are not answered yet: a stop waits for them."""

from __future__ import annotations

import asyncio


class OpenRequests:
    """A request is open from its arrival until the socket has taken all of its response, or its client is gone."""

    def __init__(self) -> None:
        self._open: set[object] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, request: object) -> None:
        self._open.add(request)
        self._empty.clear()

    def discard(self, request: object) -> None:
        """It is answered. May be called again."""
        self._open.discard(request)
        if not self._open:
            self._empty.set()

    async def wait_empty(self) -> None:
        """Until none is open. Connections without a request do not count."""
        await self._empty.wait()
