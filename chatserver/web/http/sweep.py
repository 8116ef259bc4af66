"""Looks after many things, one by one, with one timer for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

# How long one slice may hold the loop. What is left follows in the next turns.
SLICE_SECONDS = 0.002
# How many looks there are between two glances at the clock.
_LOOKS_PER_GLANCE = 16


class Sweep(Generic[T]):
    """Calls `look` with each of `things` and the loop's time, again and again: `seconds` lie between two rounds.

    It sleeps while there are no things; `start` wakes it up. `look` must not raise.
    """

    def __init__(self, things: Collection[T], look: Callable[[T, float], None], seconds: float) -> None:
        self._things = things
        self._look = look
        self._seconds = seconds
        self._round: Iterator[T] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """There are things to look after. May be called at any time, and often."""
        if self._timer is None and self._round is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self.begin_round)

    def begin_round(self) -> None:
        """Look at all things now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        is_under_way = self._round is not None
        self._round = iter(list(self._things))
        if not is_under_way:
            self._next_slice()

    def _next_slice(self) -> None:
        assert self._round is not None
        loop = asyncio.get_running_loop()
        now, ends_at = loop.time(), time.perf_counter() + SLICE_SECONDS
        for number, thing in enumerate(self._round, 1):
            if thing in self._things:
                self._look(thing, now)
            if number % _LOOKS_PER_GLANCE == 0 and time.perf_counter() > ends_at:
                loop.call_soon(self._next_slice)
                return
        self._round = None
        if self._things:
            self.start()
