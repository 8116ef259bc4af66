"""One timer of the loop for many that tick at short intervals."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable

# uvloop's timers count in milliseconds, and one that is due sooner fires at once.
_LEAST_SECONDS = 0.001
_ROUNDING = 1e-3  # of a slot: what is due so little after its end still belongs to it
# Calls that are due together are made in slices of this length; between two, others have their turn.
_SLICE_SECONDS = 0.002

Tick = Callable[[], float | None]
"""A call that gives the time of the loop at which it is to be made again; None: it is over."""


class TimerWheel:
    """Makes calls at their times, rounded up to a slot of so many milliseconds, in the order of the slots.

    To wake the loop costs more than most calls do, and there is one wake-up for all calls of a slot. If a call raises,
    the loop reports it, and the calls that are left are made a millisecond later. A call cannot be cancelled: let it do
    nothing.
    """

    def __init__(self, slot_ms: int = 1) -> None:
        self._slots_per_second = 1_000 / slot_ms
        self._slots: dict[int, list[Tick]] = {}
        self._order: list[int] = []  # a heap of the slots
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None

    def call_at(self, when: float, call: Tick) -> None:
        """Make the call at a time of the running loop."""
        slot = math.ceil(when * self._slots_per_second - _ROUNDING)
        calls = self._slots.get(slot)
        if calls is not None:
            calls.append(call)
            return
        self._slots[slot] = [call]
        heapq.heappush(self._order, slot)
        if self._order[0] == slot:
            self._arm()

    def close(self) -> None:
        """Make no further call."""
        self._slots.clear()
        self._order.clear()
        self._disarm()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._disarm()
        loop = asyncio.get_running_loop()
        soonest = loop.time() + _LEAST_SECONDS
        self._timer = loop.call_at(max(soonest, self._order[0] / self._slots_per_second), self._turn)

    def _turn(self) -> None:
        """Make the calls that are due."""
        loop = asyncio.get_running_loop()
        self._timer = None
        now = loop.time() * self._slots_per_second + _ROUNDING
        end = time.monotonic() + _SLICE_SECONDS
        try:
            while self._order and self._order[0] <= now:
                calls = self._slots[self._order[0]]
                if not calls:
                    del self._slots[heapq.heappop(self._order)]
                elif time.monotonic() > end:
                    self._timer = loop.call_soon(self._turn)
                    return
                else:
                    call = calls.pop()
                    when = call()
                    if when is not None:
                        self.call_at(when, call)
        finally:
            if self._order and self._timer is None:
                self._arm()
