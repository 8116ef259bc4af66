"""What work of one kind may take of one turn of the loop.

A thousand requests may be there at once, or a thousand answers that are faster than we are: an echo without a pace, a
quick model. Each has its turn, one after the other, and together they take a few milliseconds of a turn of the loop. So
everything else goes on meanwhile, such as paced answers.
"""

from __future__ import annotations

import asyncio
from collections import deque

from chatserver import logs


class LoopShare:
    """Turns for tasks that have much to do, first come, first served. A turn is short: afterwards come again.

    `tasks`: so many have their turn in one turn of the loop.
    """

    def __init__(self, tasks: int = 2) -> None:
        self._tasks = self._left = tasks
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_scheduled = False
        """Whether the next turn of the loop will be noticed."""
        # The turns are those of many requests.
        self._context = logs.without_request()

    def has_turn(self) -> bool:
        """Whether a task may go on at once. If not, it must wait for its `turn`."""
        self._schedule()
        if self._waiting or not self._left:
            return False
        self._left -= 1
        return True

    def turn(self) -> asyncio.Future[None]:
        """Done when it is the caller's turn. If it is cancelled before, the next one has it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._schedule()
        return turn

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._next_turn, context=self._context)

    def _next_turn(self) -> None:
        self._is_scheduled = False
        self._left = self._tasks
        if self._waiting:
            self._schedule()
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():  # else cancelled
                turn.set_result(None)
                self._left -= 1
