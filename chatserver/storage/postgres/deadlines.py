"""No call of the database takes longer than it may, whatever the server does: answers late, or nothing at all.

PostgreSQL's own bound, `statement_timeout`, is of no use where the server hangs or the network swallows what is sent.
A call whose time is over gets an error at once; the connection that its thread waits on is cut, which frees the thread.
"""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from time import monotonic
from typing import Any

import psycopg

from chatserver import logs
from chatserver.errors import DatabaseUnavailableError
from chatserver.storage.postgres.connections import cut

# How long a call waits for its turn and for a thread. By then the database is too slow for what is asked of it.
QUEUE_SECONDS = 5.0
# How much longer than one statement may take a call with all its statements may take.
BEYOND_STATEMENT_SECONDS = 2.0
# How often calls are looked after. So much later than it should it ends, at most.
LOOK_SECONDS = 0.25


class TimedCall:
    """One call of a `Database`, and the connection that its thread works with."""

    __slots__ = ("_connection", "_lock", "asked_at", "expired", "started_at", "waits_for")

    def __init__(self) -> None:
        self.asked_at = monotonic()
        self.started_at: float | None = None
        """When a thread took it up."""
        self.waits_for: asyncio.Future[Any] | None = None
        """What its caller waits for."""
        self.expired = False
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    def uses(self, connection: psycopg.Connection[Any]) -> None:
        """Its thread works with this connection from now on. Raises DatabaseUnavailableError if its time is over."""
        with self._lock:
            if self.expired:
                raise DatabaseUnavailableError
            self._connection = connection

    def gives_back(self) -> None:
        """The connection goes to others: it is not this call's any more."""
        with self._lock:
            self._connection = None

    def expire(self) -> None:
        """Its time is over: free its thread, and give its caller an error."""
        with self._lock:
            self.expired = True
            if self._connection is not None:
                cut(self._connection)
        if self.waits_for is not None:
            self.waits_for.cancel()


current_call: ContextVar[TimedCall | None] = ContextVar("current_call", default=None)
"""The call that this thread carries out."""


class Deadlines:
    """Some calls of a `Database`. Belongs to the loop's thread.

    All have the same time, so those that asked first are the first whose time is over: one timer looks after all.
    """

    def __init__(self, call_seconds: float) -> None:
        """`call_seconds`: how long a call may take in all, its wait for a thread included."""
        self._call_seconds = call_seconds
        self._queue_seconds = min(QUEUE_SECONDS, call_seconds)
        self._look_seconds = min(LOOK_SECONDS, call_seconds / 8)
        self._calls: dict[TimedCall, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self) -> TimedCall:
        """A call begins to wait for a thread. It must be given to `remove` when its thread has ended."""
        call = TimedCall()
        self.watch(call)
        return call

    def watch(self, call: TimedCall) -> None:
        """As `add`, for a call that a thread has just taken up."""
        self._calls[call] = None
        if self._timer is None:
            self._look_later()

    def remove(self, call: TimedCall) -> None:
        self._calls.pop(call, None)

    def expire_older_than(self, seconds: float) -> None:
        """End all calls that a thread took up longer ago: the server they wait for went away, and is back."""
        now = monotonic()
        for call in list(self._calls):
            if call.started_at is not None and now - call.started_at > seconds:
                call.expire()

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._look_seconds, self._look, context=logs.without_request())

    def _look(self) -> None:
        self._timer = None
        now = monotonic()
        for call in list(self._calls):
            if now - call.asked_at < self._queue_seconds:
                break
            if not call.expired and self._is_over(call, now):
                call.expire()
        if self._calls:
            self._look_later()

    def _is_over(self, call: TimedCall, now: float) -> bool:
        if call.started_at is None:
            return now - call.asked_at >= self._queue_seconds
        return now - call.asked_at >= self._call_seconds
