"""The responses of this process that are being streamed, answers and exports: their number, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from chatserver.errors import UnavailableError
from chatserver.metrics import Metrics


class Wakeable(Protocol):
    def wake(self) -> None: ...


class OpenStreams:
    """At most `limit` streams. `draining`: none is added any more. `closing`: the open ones shall end."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self.draining = False
        self.closing = False
        self._limit = limit
        self._metrics = metrics
        self._open: set[Wakeable] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def admitted(self, stream: Wakeable) -> Iterator[None]:
        """Count a stream as open in here. Raises UnavailableError at the limit, and while draining."""
        if self.draining:
            raise UnavailableError("The server is shutting down")
        if len(self._open) >= self._limit:
            raise UnavailableError("Too many streams are open")
        self._open.add(stream)
        self._empty.clear()
        self._metrics.streams.set(len(self._open))
        try:
            yield
        finally:
            self._open.remove(stream)
            if not self._open:
                self._empty.set()
            self._metrics.streams.set(len(self._open))

    async def wait_empty(self) -> None:
        """Wait until no stream is open."""
        await self._empty.wait()

    def close(self) -> None:
        """Tell all streams to end. `wait_empty` returns when they have."""
        self.draining = self.closing = True
        for stream in list(self._open):
            stream.wake()
