"""A client that does as a browser's EventSource: it comes back by itself, with the last id that it got."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable, Sequence

from scripts.torturing.viewer import Frames, Viewer
from scripts.torturing.wire import Connections, Exchange, LostError

# What a browser waits if it was told nothing.
_RETRY_SECONDS = 3.0
_RETRY = re.compile(rb"^retry: ?(\d+)$", re.MULTILINE)


class EventSource:
    """Reads one answer over as many connections as it takes, each to one of `ports()`, as behind a balancer.

    `viewer` is what it shows. `silence` is the longest time in which no byte came, and `without_data` in which nothing
    but pings came, in seconds.
    """

    def __init__(self, ports: Callable[[], Sequence[int]], path: str) -> None:
        self.viewer = Viewer()
        self.connections = 0
        self.silence = 0.0
        self.without_data = 0.0
        self._ports = ports
        self._path = path
        self._retry_seconds = _RETRY_SECONDS
        self._byte_at = self._data_at = time.monotonic()

    async def read(self) -> None:
        """Return at the terminal event. Raises RuntimeError if it is refused for good."""
        while True:
            await self._read_once()
            if self.viewer.terminal is not None:
                return
            await asyncio.sleep(self._retry_seconds)

    async def _read_once(self) -> None:
        """Read one connection to its end, however it ends."""
        self.connections += 1
        exchange = Exchange(random.choice(self._ports()), Connections())  # noqa: S311 - no secret
        last_id = self.viewer.last_id
        try:
            await exchange.begin("GET", self._path, headers={} if last_id is None else {"Last-Event-ID": last_id})
            if exchange.status != 200:
                raise RuntimeError(f"{self._path} was refused: {exchange.status} {await exchange.whole()!r}")
            frames = Frames(self.viewer)
            while piece := await exchange.piece():
                self._note(piece)
                frames.feed(piece)
        except LostError:
            pass
        finally:
            await exchange.close()

    def _note(self, piece: bytes) -> None:
        now = time.monotonic()
        self.silence = max(self.silence, now - self._byte_at)
        self._byte_at = now
        if b"data: " in piece:
            self.without_data = max(self.without_data, now - self._data_at)
            self._data_at = now
        for match in _RETRY.finditer(piece):
            self._retry_seconds = int(match[1]) / 1_000
