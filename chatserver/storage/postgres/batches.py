"""Batches: operations of one kind that come while another batch is under way go to the database as one statement.

A statement, its commit and its hop to a thread cost about the same for one operation as for twenty. So one batch is
under way, of whatever kind: with one of each kind there would be more batches, and fewer operations in each. An
operation that comes while no batch is under way goes as soon as a whole turn of the loop has brought no further one. In
a calm process that is at once; in a busy one, after some milliseconds at the latest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from chatserver import logs
from chatserver.errors import DatabaseUnavailableError
from chatserver.storage.postgres.connections import sqlstate
from chatserver.storage.postgres.database import MAX_WAITING, READ_ONLY_SQLSTATE, Database
from chatserver.storage.postgres.deadlines import QUEUE_SECONDS

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)

# How many operations a batch has, and how many characters: the last of a batch waits for all others of it.
MAX_BATCH = 64
MAX_BATCH_CHARS = 65_536
# A longer text takes so long that no other operation shall wait for it.
MAX_CHARS = 16_384
# A batch that takes longer no longer holds back the next one.
SLOW_SECONDS = 0.02
# The most batches under way. If the server vanished without a word, all of them hang for as long as a call may take,
# and others wait behind them, for QUEUE_SECONDS. More would only hang, too: the connections lead to the same server.
MAX_UNDER_WAY = 4
# While the loop is busy with requests that bring further operations, a batch waits for them, so long at most.
GATHER_SECONDS = 0.005
# How often operations that wait are looked after.
LOOK_SECONDS = 0.25
# SQLSTATEs (or how they begin) which say that the database is away for all: a lost connection, a server that stops or
# starts, a primary that was demoted.
AWAY = ("08", "57P", READ_ONLY_SQLSTATE)


class FailedStatementError(Exception):
    """The statement of a batch failed, and the database is there: nothing of it took effect."""


@dataclass(frozen=True, slots=True)
class _Operation(Generic[T, R]):
    key: Hashable
    item: T
    chars: int
    result: asyncio.Future[R | None]
    asked_at: float

    def succeed(self, result: R | None) -> None:
        if not self.result.done():  # else its caller has left
            self.result.set_result(result)

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


class Batches:
    """The batches of all kinds, on the connections of `database`. Everything but their statements happens on the loop.

    The kinds of which operations wait take turns, so none waits for long behind another.
    """

    def __init__(
        self, database: Database, *, slow_seconds: float = SLOW_SECONDS, gather_seconds: float = GATHER_SECONDS
    ) -> None:
        """`slow_seconds`: how long a batch holds back the next one at most. `gather_seconds`: as GATHER_SECONDS."""
        self._database = database
        self._slow_seconds = slow_seconds
        self._gather_seconds = gather_seconds
        self._waiting: deque[Batcher[Any, Any]] = deque()
        """The kinds of which operations wait, in the order of their turns."""
        self._under_way: set[asyncio.Task[None]] = set()
        self._holds_back: asyncio.Task[None] | None = None
        """The newest batch, until it has ended or proved to be slow: the next one does not begin before."""
        self._gathers = False
        """Whether the next batch is about to begin."""
        self._arrived = False
        """Whether an operation has come since the last look."""
        self._timer: asyncio.TimerHandle | None = None

    def of(self, function: Callable[[Connection, Sequence[T]], Sequence[R | None]]) -> Batcher[T, R]:
        """A further kind of operations.

        `function(connection, items)` is one statement that gives the result of each item, in the order of the items;
        None for an item that it left out. No two items of a batch have the same key.
        """
        return Batcher(self, function)

    def arrived(self, kind: Batcher[Any, Any]) -> None:
        """An operation of that kind waits from now on."""
        if kind not in self._waiting:
            self._waiting.append(kind)
        self._arrived = True
        self._gather()
        if self._timer is None and self._waiting:
            self._look_later()

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_SECONDS, self._look, context=logs.without_request())

    def _look(self) -> None:
        """Refuse what has waited for too long: the batches before it hang, or the database is too slow."""
        self._timer = None
        asked_before = asyncio.get_running_loop().time() - QUEUE_SECONDS
        for kind in self._waiting:
            kind.refuse(asked_before)
        if self._waiting:
            self._look_later()

    def _gather(self) -> None:
        """Begin a batch soon, unless another one holds it back."""
        if self._waiting and self._holds_back is None and not self._gathers:
            self._gathers = self._arrived = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._begin, loop.time() + self._gather_seconds)

    def _begin(self, latest: float) -> None:
        """Begin a batch with what waits, when a turn of the loop has brought nothing, or when it is `latest`."""
        loop = asyncio.get_running_loop()
        if self._arrived and loop.time() < latest:
            self._arrived = False
            loop.call_soon(self._begin, latest)
            return
        self._gathers = False
        while self._waiting and self._holds_back is None and len(self._under_way) < MAX_UNDER_WAY:
            kind = self._waiting.popleft()
            batch = kind.take()
            if kind.has_waiting:
                self._waiting.append(kind)
            if batch:
                task = loop.create_task(self._carry_out(kind, batch))
                self._under_way.add(task)
                self._holds_back = task
                task.add_done_callback(self._ended)

    async def _carry_out(self, kind: Batcher[T, R], batch: Sequence[_Operation[T, R]]) -> None:
        this = asyncio.current_task()
        slow = asyncio.get_running_loop().call_later(self._slow_seconds, self._let_next_begin, this)
        try:
            results = await self._database.autocommit(kind.execute, [operation.item for operation in batch])
        except DatabaseUnavailableError as error:
            for operation in batch:
                operation.fail(DatabaseUnavailableError(error.message))
        except Exception as error:
            # Nothing of it took effect. Which item is to blame shows when each is carried out by itself.
            logger.warning("a batch of %d operations failed: %s", len(batch), _name(error))
            for operation in batch:
                operation.succeed(None)
        else:
            for operation, result in zip(batch, results, strict=True):
                operation.succeed(result)
        finally:
            slow.cancel()
            for operation in batch:
                # Only a defect leaves any; else its caller would wait for ever.
                operation.fail(RuntimeError("a batch gave this operation no result"))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._let_next_begin(task)

    def _let_next_begin(self, task: asyncio.Task[None] | None) -> None:
        if self._holds_back is task:
            self._holds_back = None
        self._gather()


class Batcher(Generic[T, R]):
    """The operations of one kind; `Batches.of` makes it."""

    def __init__(self, batches: Batches, function: Callable[[Connection, Sequence[T]], Sequence[R | None]]) -> None:
        self._batches = batches
        self._function = function
        self._waiting: deque[_Operation[T, R]] = deque()

    async def carry_out(self, key: Hashable, item: T, chars: int) -> R | None:
        """The result of an item with so many characters of text.

        None: the item was not carried out, and has to be by itself. It was left out, or its text is too long for a
        batch, or the statement failed: then nobody knows because of which item.
        Raises DatabaseUnavailableError, after which it may have been carried out. If the caller is cancelled while the
        item waits for its batch, it is not carried out.
        """
        if chars > MAX_CHARS:
            return None
        if len(self._waiting) >= MAX_WAITING:
            raise DatabaseUnavailableError("The database is overloaded")
        loop = asyncio.get_running_loop()
        operation: _Operation[T, R] = _Operation(key, item, chars, loop.create_future(), loop.time())
        self._waiting.append(operation)
        self._batches.arrived(self)
        return await operation.result

    @property
    def has_waiting(self) -> bool:
        """Whether operations wait."""
        return bool(self._waiting)

    def refuse(self, asked_before: float) -> None:
        """Refuse the operations that have waited since then."""
        while self._waiting and self._waiting[0].asked_at < asked_before:
            self._waiting.popleft().fail(DatabaseUnavailableError())

    def take(self) -> list[_Operation[T, R]]:
        """Take the operations of the next batch: first come, first served, those of the same key one after another."""
        batch: list[_Operation[T, R]] = []
        left: list[_Operation[T, R]] = []
        keys: set[Hashable] = set()
        chars = 0
        while self._waiting and len(batch) < MAX_BATCH and chars < MAX_BATCH_CHARS:
            operation = self._waiting.popleft()
            if operation.result.done():  # its caller has left
                continue
            if operation.key in keys:
                left.append(operation)
                continue
            keys.add(operation.key)
            batch.append(operation)
            chars += operation.chars
        self._waiting.extendleft(reversed(left))
        return batch

    def execute(self, connection: Connection, items: Sequence[T]) -> Sequence[R | None]:
        """Carry out the items of a batch, on a thread. Raises FailedStatementError."""
        try:
            return self._function(connection, items)
        except DBAPIError as error:
            state = sqlstate(error)
            if error.connection_invalidated or state is None or state.startswith(AWAY):
                raise
            # Such as a deadlock or a timeout, which `Database` would take for a database that is away.
            raise FailedStatementError(state) from error


def _name(error: Exception) -> str:
    """What the log says of an error: its message may have texts of users."""
    return f"SQLSTATE {error}" if isinstance(error, FailedStatementError) else type(error).__name__
