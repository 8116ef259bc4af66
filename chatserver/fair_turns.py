"""Turns on threads that all share: while they are all busy, those who wait have their turns one after the other.

Whoever asks for much waits for their own calls, not others for theirs. This is for short calls, and costs next to
nothing while there is a free thread. Long ones go through a `Lane`.
"""

from __future__ import annotations

import asyncio
from collections import deque

from chatserver.errors import DatabaseUnavailableError
from chatserver.origin import Share

# Of how many shares without calls it is remembered that they have none: it is cheaper than to forget each at once.
MAX_IDLE = 1_000
_TOO_MANY = "The database is overloaded"


class Line:
    """The calls of one share: how many are under way, and those that wait."""

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class FairTurns:
    """Gives turns on `threads` threads to shares, in a circle. Belongs to the loop's thread.

    One share never has all threads, unless there is only one: so nobody waits for what blocks the calls of another.

    At most `max_waiting` wait. A share may have as many waiting as there are places left: so one alone takes half of
    them, and there is room for whoever comes next.
    """

    def __init__(self, threads: int, *, max_waiting: int) -> None:
        # While threads end a call and the loop has not noticed, they take what is in their queue.
        self._room = 2 * threads
        self._of_share = max(1, threads - 1)
        self._max_waiting = max_waiting
        self._under_way = 0
        self._waiting = 0
        self._lines: dict[Share, Line] = {}
        # Those with calls that wait, in the order in which they have their next turns.
        self._circle: deque[Line] = deque()

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._waiting

    def line(self, share: Share) -> Line:
        """The line for the calls of a share. To be used at once."""
        line = self._lines.get(share)
        if line is None:
            if len(self._lines) >= MAX_IDLE:
                self._lines = {each: kept for each, kept in self._lines.items() if kept.under_way or kept.waiting}
            line = self._lines[share] = Line()
        return line

    def take(self, line: Line | None) -> bool:
        """Take a turn if it need not be waited for; it must be given back by `leave`.

        `line` None: it is nobody's, such as the server's own work, and does not wait here; DatabaseUnavailableError is
        raised if too many are under way.
        """
        if line is None:
            if self._under_way >= self._max_waiting // 2:
                raise DatabaseUnavailableError(_TOO_MANY)
        else:
            if self._under_way >= self._room or line.under_way >= self._of_share:
                return False
            line.under_way += 1
        self._under_way += 1
        return True

    async def wait(self, line: Line) -> None:
        """Wait for a turn; it must be given back by `leave`.

        Raises DatabaseUnavailableError if too many wait, and at `stop`.
        """
        if len(line.waiting) >= self._max_waiting - self._waiting:
            raise DatabaseUnavailableError(_TOO_MANY)
        if not line.waiting:
            self._circle.append(line)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(line)  # it was given at the same moment
            raise

    def leave(self, line: Line | None) -> None:
        """Give a turn back, to those who wait."""
        self._under_way -= 1
        if line is not None:
            line.under_way -= 1
        if self._waiting:
            self._give_turns()

    def stop(self) -> None:
        """Refuse all that wait."""
        for line in self._circle:
            for turn in line.waiting:
                if not turn.done():
                    turn.set_exception(DatabaseUnavailableError())
            line.waiting.clear()
        self._circle.clear()
        self._waiting = 0

    def _give_turns(self) -> None:
        passed_over = 0
        while self._under_way < self._room and passed_over < len(self._circle):
            line = self._circle[passed_over]
            if line.under_way >= self._of_share:
                passed_over += 1
                continue
            del self._circle[passed_over]
            turn = line.waiting.popleft()
            self._waiting -= 1
            if line.waiting:
                self._circle.append(line)  # behind all others
            if not turn.done():  # else its caller left
                self._under_way += 1
                line.under_way += 1
                turn.set_result(None)
