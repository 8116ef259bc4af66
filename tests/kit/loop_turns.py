"""How much is done in one turn of the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from chatserver.providers.base import Delta
from tests.kit.waiting import PATIENCE_SECONDS


async def most_per_turn(count: Callable[[], int], over: Callable[[], bool]) -> int:
    """By how much a count grew at most in one turn of the loop, until `over()` is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    most = 0
    while not over():
        assert time.monotonic() < deadline, f"it is not over after {PATIENCE_SECONDS} s"
        before = count()
        await asyncio.sleep(0)
        most = max(most, count() - before)
    return most


def work(seconds: float) -> None:
    """Keep the loop busy."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        pass


class BusySink:
    """A sink that takes a millisecond for each push; it counts them."""

    wanted = True

    def __init__(self) -> None:
        self.pushes = 0

    def push(self, _: Sequence[Delta]) -> None:
        work(0.001)
        self.pushes += 1
