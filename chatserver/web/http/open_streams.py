"""The open event streams of this process: how many there are, and how they are sent away when it ends."""

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
    """At most `limit` streams; none is added any more while `draining`, and `closing` tells those there are to end."""

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
        """Count a stream as open in here. Raises UnavailableError where no further one may be opened."""
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
        """Until no stream is open."""
        await self._empty.wait()

    def close(self) -> None:
        """Send all of them away; they end by themselves, `wait_empty` tells when."""
        self.draining = self.closing = True
        for stream in list(self._open):
            stream.wake()
