"""PostgreSQL for coroutines: the threads that block on its connections, and the translation of the driver's errors.

There are as many threads as connections, so no thread waits for a connection. A use case is one function
`f(connection, …)` and one hop to a thread: `autocommit` for a single statement, or several that need not take effect
together, else `transaction`. Calls that read or copy much go through `heavy`: they have threads and connections of
their own.

On its thread a function has the context of its caller: the request that it serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from chatserver.errors import ChatServerError, DatabaseUnavailableError
from chatserver.fair_turns import FairTurns, Line
from chatserver.lanes import Lane
from chatserver.metrics import Metrics
from chatserver.origin import share
from chatserver.storage.postgres.connections import OpenConnections, make_engine, single_statement, sqlstate
from chatserver.storage.postgres.deadlines import BEYOND_STATEMENT_SECONDS, Deadlines, TimedCall, current_call
from chatserver.storage.postgres.heavy import HeavyCalls, Statements, heavy_connections

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

# The most calls that wait for a thread, and half as many of one company. With more, the database is too slow.
MAX_WAITING = 4_000
# How long `close` waits for statements under way.
CLOSE_SECONDS = 1.0
# A heavy call may take as long as so many statements.
HEAVY_STATEMENTS = 4
# How often a transaction is run that PostgreSQL aborts because of another one.
TRANSACTION_ATTEMPTS = 4
RETRYABLE_SQLSTATES = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
READ_ONLY_SQLSTATE = "25006"  # a primary that was demoted while we were connected


def translate(error: Exception) -> ChatServerError | None:
    """Our error for one of the driver's; None: it is a defect of ours."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return DatabaseUnavailableError()
    if isinstance(error, DBAPIError) and (error.connection_invalidated or sqlstate(error) == READ_ONLY_SQLSTATE):
        return DatabaseUnavailableError()
    return None


class Database:
    """PostgreSQL, for coroutines."""

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        statement_timeout_seconds: float,
        metrics: Metrics,
        pooled: bool = False,
        heavy: int | None = None,
        session_settings: Mapping[str, str] | None = None,
        call_seconds: float | None = None,
    ) -> None:
        """`call_seconds`: how long a call may take in all; None: BEYOND_STATEMENT_SECONDS longer than a statement.

        `heavy`: how many of the connections are for heavy calls alone; None: the usual share, 0: none.

        `session_settings`: what PostgreSQL is told for each session, in addition to what this code relies on.
        """
        heavy = heavy_connections(connections) if heavy is None else heavy
        light = max(1, connections - heavy)
        self._engine = make_engine(
            url,
            connections=light + heavy,
            statement_timeout_seconds=statement_timeout_seconds,
            pooled=pooled,
            session_settings=session_settings,
            on_connect=_uses,
        )
        event.listen(self._engine, "checkout", lambda connection, _record, _proxy: _uses(connection))
        event.listen(self._engine, "checkin", lambda _connection, _record: _gives_back())
        if call_seconds is None:
            call_seconds = statement_timeout_seconds + BEYOND_STATEMENT_SECONDS
        self._deadlines = Deadlines(call_seconds)
        # A heavy call has several long statements.
        heavy_seconds = HEAVY_STATEMENTS * statement_timeout_seconds + BEYOND_STATEMENT_SECONDS
        self._heavy_deadlines = Deadlines(heavy_seconds)
        self._connections = OpenConnections(self._engine)
        self._transactions = self._engine.execution_options(isolation_level="READ COMMITTED")
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._executor = ThreadPoolExecutor(light, thread_name_prefix="database")
        self._lane = Lane("database_heavy", heavy) if heavy else None
        self._metrics = metrics
        self._turns = FairTurns(light, max_waiting=MAX_WAITING)
        self._closed = False

    async def autocommit(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function(connection, …)` on a thread; each of its statements is committed at once.

        Raises DatabaseUnavailableError, and anything that `function` raises.
        """
        return await self._hop(self._run_autocommit, function, args, kwargs)

    async def transaction(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function(connection, …)` on a thread in one transaction, which is committed when it returns.

        It is run again if PostgreSQL aborts it because of a deadlock or a conflict, so it must have no other effects.
        Raises DatabaseUnavailableError, after which the transaction may have taken effect, and anything that
        `function` raises.
        """
        return await self._hop(self._run_transaction, function, args, kwargs)

    @property
    def waiting_calls(self) -> int:
        """How many calls wait for their turn."""
        return self._turns.waiting

    def heavy(self, company_id: UUID) -> HeavyCalls:
        """The calls of a company that read or copy much. Companies take turns.

        If a caller is cancelled, so is its statement. There must be connections for them.
        """
        lane = self._lane
        assert lane is not None

        async def run(function: Callable[..., T], args: Any, kwargs: Any, *, transaction: bool) -> T:
            statements = Statements()
            watched = statements.watched(function)
            carry_out = (
                partial(self._run_transaction, watched, args, kwargs, self._snapshots)
                if transaction
                else partial(self._run_autocommit, watched, args, kwargs)
            )
            on_thread = partial(copy_context().run, self._heavily, asyncio.get_running_loop(), carry_out)
            with self._measured():
                result: T = await lane.run(company_id, on_thread, interrupt=statements.cancel)
                return result

        return HeavyCalls(run)

    async def _hop(self, run: Callable[..., T], function: Callable[..., T], args: Any, kwargs: Any) -> T:
        if self._closed:
            raise DatabaseUnavailableError
        # Databases for one purpose have no shares: a batch is of many companies.
        turns = self._turns
        line = turns.line(None if self._lane is None else share.get())
        call = self._deadlines.add()
        with self._measured():
            try:
                if not turns.take(line):
                    await self._wait_for_turn(call, line)
            except BaseException:
                self._deadlines.remove(call)
                raise
            loop = asyncio.get_running_loop()
            try:
                work = self._executor.submit(copy_context().run, self._on_thread, call, run, function, args, kwargs)
            except RuntimeError:  # closed between the turn and now
                self._ended(call, line)
                raise DatabaseUnavailableError from None
            waiting: asyncio.Future[T] = asyncio.wrap_future(work, loop=loop)
            call.waits_for = waiting
            try:
                return await waiting
            except asyncio.CancelledError:
                # Its time is over, `close` cancelled the wait for a thread, or its caller left.
                raise _cancelled() from None
            finally:
                self._end_after(work, call, line, loop)

    async def _wait_for_turn(self, call: TimedCall, line: Line) -> None:
        turn = call.waits_for = self._turns.queue(line)
        try:
            await turn
        except asyncio.CancelledError:
            self._turns.withdraw(turn, line)
            raise _cancelled() from None

    @staticmethod
    def _on_thread(call: TimedCall, run: Callable[..., T], *arguments: Any) -> T:
        call.started_at = time.monotonic()
        current_call.set(call)
        return run(*arguments)

    def _heavily(self, loop: asyncio.AbstractEventLoop, run: Callable[[], T]) -> T:
        """A heavy call on its thread. Its wait for the thread is bounded by the lane.

        It has its deadline until its thread is free, whether its caller is there or not.
        """
        call = TimedCall()
        with contextlib.suppress(RuntimeError):  # the loop is closed, and `close` cuts the connections
            loop.call_soon_threadsafe(self._heavy_deadlines.watch, call)
        try:
            return self._on_thread(call, run)
        finally:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._heavy_deadlines.remove, call)

    def _end_after(self, work: Future[Any], call: TimedCall, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        """End the call when the work has ended. If its caller has left, its thread may still be at it."""
        if work.done():
            self._ended(call, line)
            return

        def ended(_: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._ended, call, line)

        work.add_done_callback(ended)

    def _ended(self, call: TimedCall, line: Line) -> None:
        self._deadlines.remove(call)
        self._turns.leave(line)

    def give_up_hanging(self, seconds: float) -> None:
        """End calls that have been under way for longer: the server went away, and is back.

        What they wait on may be a connection that leads nowhere. Others need its thread.
        """
        for each in (self._deadlines, self._heavy_deadlines):
            each.expire_older_than(seconds)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        except DatabaseUnavailableError:
            self._metrics.database_errors.inc()
            raise
        finally:
            self._metrics.database_seconds.observe(time.perf_counter() - started)

    def _run_autocommit(self, function: Callable[..., T], args: Any, kwargs: Any) -> T:
        try:
            with single_statement(self._engine) as connection:
                return function(connection, *args, **kwargs)
        except Exception as error:
            self._raise_translated(error)
            raise

    def _run_transaction(
        self, function: Callable[..., T], args: Any, kwargs: Any, transactions: Engine | None = None
    ) -> T:
        for attempt in range(1, TRANSACTION_ATTEMPTS + 1):
            try:
                with (transactions or self._transactions).begin() as connection:
                    return function(connection, *args, **kwargs)
            except Exception as error:
                if (
                    attempt < TRANSACTION_ATTEMPTS
                    and isinstance(error, DBAPIError)
                    and sqlstate(error) in RETRYABLE_SQLSTATES
                ):
                    continue
                self._raise_translated(error)
                raise
        raise AssertionError("unreachable")

    def _raise_translated(self, error: Exception) -> None:
        ours = translate(error)
        if ours is None:
            return
        logger.warning("database: %s", str(getattr(error, "orig", error)).strip().partition("\n")[0])
        if isinstance(error, DBAPIError) and sqlstate(error) == READ_ONLY_SQLSTATE:
            self._engine.dispose(close=False)
        raise ours from error

    def close(self) -> None:
        """Wait for the threads, and close the connections. May be called again.

        Threads that wait for a database which does not answer are freed after CLOSE_SECONDS. One that still waits after
        that, for a name server perhaps, is left behind.
        """
        self._closed = True
        self._turns.stop()
        if self._lane is not None:
            self._lane.stop()
        waiting = threading.Thread(target=self._end_threads, daemon=True)
        waiting.start()
        waiting.join(CLOSE_SECONDS)
        if waiting.is_alive():
            self._connections.cut()
            waiting.join(CLOSE_SECONDS)
        self._engine.dispose()

    def _end_threads(self) -> None:
        self._executor.shutdown(cancel_futures=True)
        if self._lane is not None:
            self._lane.join()


def _uses(connection: psycopg.Connection[Any]) -> None:
    """The call of this thread works with a connection from now on."""
    call = current_call.get()
    if call is not None:
        call.uses(connection)


def _gives_back() -> None:
    """The connection of this thread's call goes back to the others."""
    call = current_call.get()
    if call is not None:
        call.gives_back()


def _cancelled() -> BaseException:
    """What a cancelled wait means: the caller has left, or it gets no result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return asyncio.CancelledError()
    return DatabaseUnavailableError()
