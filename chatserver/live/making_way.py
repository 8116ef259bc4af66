"""Waiting for what another process was asked to do: to drop an answer that nobody reads, or to stop one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from chatserver.live.outcomes import YieldState
from chatserver.live.store import AnswerStore

# How long a request waits for another process to say whether its answer makes way. Processes look at their answers
# every second, and at once when they are told.
YIELD_SECONDS = 1.5
# The waits between looks.
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.01, 0.5


async def looks(seconds: float) -> AsyncIterator[None]:
    """Yields when it is time to look: at once, then at growing intervals, the last time after so many seconds."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    wait = FIRST_LOOK_SECONDS
    yield
    while (left := deadline - clock()) > 0:
        await asyncio.sleep(min(wait, left))
        wait = min(2 * wait, LONGEST_LOOK_SECONDS)
        yield


async def makes_way(store: AnswerStore, run_id: UUID) -> None:
    """Return when a run of another process, which was asked to make way, has ended or stays, or nobody reacts."""
    async for _ in looks(YIELD_SECONDS):
        if await store.yield_state(run_id) is not YieldState.PENDING:
            return
