"""Looks after many things, one by one, with one timer for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from typing import Generic, TypeVar

from chatserver import logs

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How many things are looked at in one turn of the loop. A look takes 15 µs at most, and what it wakes up may take 100.
LOOKS_PER_TURN = 32
# One that ended something counts as so many: what comes of that takes some hundred µs more in the next turn.
ENDING_LOOKS = 8


class Sweep(Generic[T]):
    """Calls `look` with each of `things` and the loop's time, again and again: `seconds` lie between two rounds.

    `look` says whether it ended something. The sweep sleeps while there are no things; `start` wakes it up.
    """

    def __init__(self, things: Collection[T], look: Callable[[T, float], bool | None], seconds: float) -> None:
        self._things = things
        self._look = look
        self._seconds = seconds
        self._round: Iterator[T] | None = None
        self._timer: asyncio.TimerHandle | None = None
        # The rounds are those of many requests.
        self._context = logs.without_request()

    def start(self) -> None:
        """There are things to look after. May be called at any time, and often."""
        if self._timer is None and self._round is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self.begin_round, context=self._context)

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
        now, left = loop.time(), LOOKS_PER_TURN
        for thing in self._round:
            left -= 1
            if thing in self._things:
                try:
                    if self._look(thing, now):
                        left -= ENDING_LOOKS - 1
                except Exception:
                    # The others have to be looked after all the same.
                    logger.exception("a look failed")
            if left <= 0:
                loop.call_soon(self._next_slice, context=self._context)
                return
        self._round = None
        if self._things:
            self.start()
