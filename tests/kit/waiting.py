"""Waits for a condition that no event announces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

# Longer than anything here takes, even on a busy machine. Nothing waits this long unless a test fails.
PATIENCE_SECONDS = 20.0
POLL_SECONDS = 0.005


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], *, within_seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until `condition()` is true, or fail. It is asked again and again, while the event loop goes on."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_seconds
    while not (holds := condition()) or (not isinstance(holds, bool) and not await holds):
        assert loop.time() < deadline, f"it is not so after {within_seconds} s"
        await asyncio.sleep(POLL_SECONDS)


def eventually_blocking(condition: Callable[[], bool], *, within_seconds: float = PATIENCE_SECONDS) -> None:
    """The same for a test without an event loop."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"it is not so after {within_seconds} s"
        time.sleep(POLL_SECONDS)
