"""Where the peers with a coroutine for each stream take their events from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from scripts.benchmarks.peers import answers

Event = tuple[str, str]
"""Id and data."""

# One queue for each live reader; None ends its stream.
_live: set[asyncio.Queue[Event | None]] = set()


async def events(name: str) -> AsyncIterator[Event]:
    """The events of the conversation with that name, the last one included."""
    if name == "live":
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        _live.add(queue)
        try:
            while event := await queue.get():
                yield event
        finally:
            _live.discard(queue)
    else:
        async for event in _generated(answers.answer(name)):
            yield event


async def publish(name: str) -> None:
    """Send one answer to all live readers."""
    async for event in _generated(answers.answer(name)):
        for queue in _live:
            queue.put_nowait(event)
    for queue in _live:
        queue.put_nowait(None)


async def _generated(answer: answers.Answer) -> AsyncIterator[Event]:
    due = time.monotonic()
    for number in range(1, answer.tokens + 1):
        yield answers.token(number)
        if answer.pace_seconds:
            due += answer.pace_seconds
            await asyncio.sleep(max(0, due - time.monotonic()))
    yield answers.end()
