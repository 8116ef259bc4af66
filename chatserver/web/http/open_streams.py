"""The responses of this process that are being streamed, answers and exports: their number, their care, their end."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Protocol

from chatserver.errors import UnavailableError
from chatserver.metrics import Metrics
from chatserver.web.http.sweep import Sweep


class OpenStream(Protocol):
    def look(self, now: float) -> None:
        """Do what is due: called every few moments, and once soon after `OpenStreams.close`. `now`: the loop's time."""


class OpenStreams:
    """At most `limit` streams. `draining`: none is added any more. `closing`: the open ones shall end.

    Each is looked after every `look_seconds`: no stream has a timer of its own.
    """

    def __init__(self, limit: int, metrics: Metrics, *, look_seconds: float) -> None:
        self.draining = False
        self.closing = False
        self.look_seconds = look_seconds
        self._limit = limit
        self._metrics = metrics
        self._open: set[OpenStream] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._sweep: Sweep[OpenStream] = Sweep(self._open, lambda stream, now: stream.look(now), look_seconds)

    def __len__(self) -> int:
        return len(self._open)

    def admitted(self, stream: OpenStream) -> AbstractContextManager[None]:
        """Count a stream as open while in here. Raises UnavailableError at the limit, and while draining."""
        if self.draining:
            raise UnavailableError("The server is shutting down")
        if len(self._open) >= self._limit:
            raise UnavailableError("Too many streams are open")
        return _Admitted(self, stream)

    def add(self, stream: OpenStream) -> None:
        self._open.add(stream)
        self._empty.clear()
        self._sweep.start()
        self._metrics.streams.set(len(self._open))

    def remove(self, stream: OpenStream) -> None:
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
        self._sweep.begin_round()


class _Admitted(AbstractContextManager[None]):
    """As a generator would be, but it takes a tenth of the memory, for each stream that waits."""

    __slots__ = ("_stream", "_streams")

    def __init__(self, streams: OpenStreams, stream: OpenStream) -> None:
        self._streams = streams
        self._stream = stream

    def __enter__(self) -> None:
        self._streams.add(self._stream)

    def __exit__(self, *_: object) -> None:
        self._streams.remove(self._stream)
