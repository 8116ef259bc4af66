"""What work of one kind may take of one turn of the loop.

A thousand requests may be there at once, or a thousand answers that are faster than we are: an echo without a pace, a
quick model. Each has its turn, one after the other, and together they take a few milliseconds of a turn of the loop. So
everything else goes on meanwhile, such as paced answers.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from chatserver import logs


class LoopShare:
    """Turns for those who have much to do, first come, first served. A turn is short: afterwards come again.

    `tasks`: so many tasks go on in one turn of the loop. How long they take shows only when they have ended.
    `slice_seconds`: after so long, no further call is made in the same turn.
    """

    def __init__(self, tasks: int = 2, slice_seconds: float = 0.002) -> None:
        self._tasks = self._tasks_left = tasks
        self._slice_seconds = slice_seconds
        self._waiting: deque[Callable[[], None] | asyncio.Future[None]] = deque()
        self._is_scheduled = False
        """Whether the next turn of the loop will be noticed."""
        # The turns are those of many requests.
        self._context = logs.without_request()

    def call(self, work: Callable[[], None]) -> None:
        """Have the work done in its turn."""
        self._waiting.append(work)
        self._schedule()

    def has_turn(self) -> bool:
        """Whether a task may go on at once. If not, it must wait for its `turn`."""
        self._schedule()
        if self._waiting or not self._tasks_left:
            return False
        self._tasks_left -= 1
        return True

    async def turn(self) -> None:
        """Return when it is the caller's turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._schedule()
        await turn

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._next_turn, context=self._context)

    def _next_turn(self) -> None:
        self._is_scheduled = False
        self._tasks_left = self._tasks
        if not self._waiting:
            return
        self._schedule()
        end = time.monotonic() + self._slice_seconds
        for _ in range(len(self._waiting)):
            work = self._waiting.popleft()
            if isinstance(work, asyncio.Future):
                if work.done():  # cancelled
                    continue
                work.set_result(None)
                self._tasks_left -= 1
            else:
                work()
            if not self._tasks_left or time.monotonic() > end:
                return
