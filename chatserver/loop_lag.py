"""How late the event loop is, which everything that it does has to wait for."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import Histogram

SAMPLE_SECONDS = 0.1


class LoopLag:
    """Observes, ten times a second, by how many seconds a timer is late.

    A callback that holds the loop up makes all others wait, and this timer among them. One that takes a tenth of a
    second is always seen; of those that take 10 ms every tenth one is.
    """

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def running(self) -> bool:
        return self._timer is not None

    def start(self) -> None:
        """Begin to observe the loop that runs. No effect if that has begun, or after `close`."""
        if self._timer is None and not self._closed:
            self._sample_later(asyncio.get_running_loop())

    def close(self) -> None:
        """Observe no more. May be called again."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sample_later(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not by the loop's own clock, which uvloop reads once per turn.
        due = time.monotonic() + SAMPLE_SECONDS
        self._timer = loop.call_later(SAMPLE_SECONDS, self._sample, loop, due)

    def _sample(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        # The loop counts in milliseconds: a timer may be early by one.
        self._histogram.observe(max(0.0, time.monotonic() - due))
        self._sample_later(loop)
