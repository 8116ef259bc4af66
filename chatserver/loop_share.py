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

    `slice_seconds`: in each turn of the loop, no turn begins later than that after the first. `tasks`: so many of those
    that wait in `turn` go on in one turn of the loop. How long they take shows only when they have ended.
    """

    def __init__(self, slice_seconds: float = 0.002, tasks: int = 1) -> None:
        self._slice_seconds = slice_seconds
        self._tasks = tasks
        self._waiting: deque[Callable[[], None] | asyncio.Future[None]] = deque()
        self._end = 0.0
        """When the slice of this turn of the loop ends; 0: it has not begun."""
        # The slices are those of many requests.
        self._context = logs.without_request()

    def call(self, work: Callable[[], None]) -> None:
        """Have the work done in its turn."""
        self._waiting.append(work)
        self._begin()

    async def turn(self) -> None:
        """Return when it is the caller's turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._begin()
        await turn

    def spent(self) -> bool:
        """Whether those who have much to do must wait for a `turn`: the slice is over, or others wait."""
        end = self._begin()
        return bool(self._waiting) or time.monotonic() > end

    def _begin(self) -> float:
        """Begin the slice of this turn of the loop, if that has not been done; when it ends."""
        if not self._end:
            self._end = time.monotonic() + self._slice_seconds
            asyncio.get_running_loop().call_soon(self._next_slice, context=self._context)
        return self._end

    def _next_slice(self) -> None:
        self._end = 0.0
        if not self._waiting:
            return
        end, tasks = self._begin(), self._tasks
        for _ in range(len(self._waiting)):
            work = self._waiting.popleft()
            if isinstance(work, asyncio.Future):
                if work.done():  # cancelled
                    continue
                work.set_result(None)
                tasks -= 1
            else:
                work()
            if not tasks or time.monotonic() > end:
                return
