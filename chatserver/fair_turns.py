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
    """Calls that have turns one after the other: how many are under way, and those that wait."""

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class FairTurns:
    """Gives turns on `threads` threads to shares, in a circle. Belongs to the loop's thread.

    One share never has all threads, unless there is only one: so nobody waits for what blocks the calls of another.

    At most `max_waiting` wait. A share may have as many waiting as there are places left: so one alone takes half of
    them, and there is room for whoever comes next.

    Calls that are nobody's, such as the server's own work, have a line beside the circle, and never all threads either.
    Their number does not count for the shares, nor that of the shares for them: so neither holds up the other. Half as
    many of them may be there as may wait. Until the first share comes, they need no turns: where nobody is signed in,
    none ever comes.
    """

    def __init__(self, threads: int, *, max_waiting: int) -> None:
        # While threads end a call and the loop has not noticed, they take what is in their queue.
        self._room = 2 * threads
        self._of_share = max(1, threads - 1)
        self._max_waiting = max_waiting
        self._max_nobodys = max_waiting // 2
        # Of the shares, without what is nobody's.
        self._under_way = 0
        self._waiting = 0
        self._lines: dict[Share, Line] = {}
        # Those with calls that wait, in the order in which they have their next turns.
        self._circle: deque[Line] = deque()
        self._nobodys = Line()

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._waiting + len(self._nobodys.waiting)

    def line(self, share: Share | None) -> Line:
        """The line for the calls of a share; None: for what is nobody's. To be used at once."""
        if share is None:
            return self._nobodys
        line = self._lines.get(share)
        if line is None:
            if len(self._lines) >= MAX_IDLE:
                self._lines = {each: kept for each, kept in self._lines.items() if kept.under_way or kept.waiting}
            line = self._lines[share] = Line()
        return line

    def take(self, line: Line) -> bool:
        """Take a turn if it need not be waited for; it must be given back by `leave`."""
        if line is self._nobodys:
            if line.under_way >= (self._of_share if self._lines else self._max_nobodys):
                return False
        elif self._under_way >= self._room or line.under_way >= self._of_share:
            return False
        self._begin(line)
        return True

    def queue(self, line: Line) -> asyncio.Future[None]:
        """A turn that is to be waited for. When it is done, it must be given back by `leave`.

        Whoever does not wait to its end calls `withdraw`. Raises DatabaseUnavailableError if too many wait; the turn
        does at `stop`.
        """
        if line is self._nobodys:
            places = self._max_nobodys - line.under_way
        else:
            places = self._max_waiting - self._waiting
        if len(line.waiting) >= places:
            raise DatabaseUnavailableError(_TOO_MANY)
        if line is not self._nobodys:
            self._waiting += 1
            if not line.waiting:
                self._circle.append(line)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        return turn

    def withdraw(self, turn: asyncio.Future[None], line: Line) -> None:
        """Nobody waits for that turn any more."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self.leave(line)  # it was given at the same moment
        turn.cancel()

    def leave(self, line: Line) -> None:
        """Give a turn back, to those who wait."""
        line.under_way -= 1
        if line is self._nobodys:
            if line.waiting:
                self._give_nobodys()
            return
        self._under_way -= 1
        if self._circle:
            self._give_turns()

    def stop(self) -> None:
        """Refuse all that wait."""
        for line in (self._nobodys, *self._circle):
            for turn in line.waiting:
                if not turn.done():
                    turn.set_exception(DatabaseUnavailableError())
            line.waiting.clear()
        self._circle.clear()
        self._waiting = 0

    def _begin(self, line: Line) -> None:
        line.under_way += 1
        if line is not self._nobodys:
            self._under_way += 1

    def _give_nobodys(self) -> None:
        line = self._nobodys
        while line.waiting and line.under_way < self._of_share:
            self._give(line)

    def _give_turns(self) -> None:
        passed_over = 0
        while self._under_way < self._room and passed_over < len(self._circle):
            line = self._circle[passed_over]
            if line.under_way >= self._of_share:
                passed_over += 1
                continue
            del self._circle[passed_over]
            self._waiting -= 1
            self._give(line)
            if line.waiting:
                self._circle.append(line)  # behind all others

    def _give(self, line: Line) -> None:
        """Give a turn to the first of a line."""
        turn = line.waiting.popleft()
        if not turn.done():  # else its caller left
            self._begin(line)
            turn.set_result(None)
