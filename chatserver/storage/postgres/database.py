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

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from chatserver.errors import ChatServerError, DatabaseUnavailableError
from chatserver.fair_turns import FairTurns, Line
from chatserver.lanes import Lane
from chatserver.metrics import Metrics
from chatserver.origin import share
from chatserver.storage.postgres.connections import OpenConnections, make_engine, single_statement, sqlstate
from chatserver.storage.postgres.heavy import HeavyCalls, Statements, heavy_connections

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

# The most calls that wait for a thread, and half as many of one company. With more, the database is too slow.
MAX_WAITING = 4_000
# How long `close` waits for statements under way.
CLOSE_SECONDS = 1.0
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
    ) -> None:
        """`heavy`: how many of the connections are for heavy calls alone; None: the usual share, 0: none.

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
        )
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
            call = (
                partial(self._run_transaction, watched, args, kwargs, self._snapshots)
                if transaction
                else partial(self._run_autocommit, watched, args, kwargs)
            )
            with self._measured():
                return await lane.run(company_id, partial(copy_context().run, call), interrupt=statements.cancel)

        return HeavyCalls(run)

    async def _hop(self, run: Callable[..., T], function: Callable[..., T], args: Any, kwargs: Any) -> T:
        if self._closed:
            raise DatabaseUnavailableError
        # Databases for one purpose have no shares: a batch is of many companies.
        turns = self._turns
        line = turns.line(None if self._lane is None else share.get())
        with self._measured():
            if not turns.take(line):
                await turns.wait(line)
            loop = asyncio.get_running_loop()
            try:
                work = self._executor.submit(copy_context().run, run, function, args, kwargs)
            except RuntimeError:  # closed between the turn and now
                turns.leave(line)
                raise DatabaseUnavailableError from None
            try:
                return await asyncio.wrap_future(work, loop=loop)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and not task.cancelling():  # `close` cancelled the wait for a thread, not a caller
                    raise DatabaseUnavailableError from None
                raise
            finally:
                self._leave_after(work, line, loop)

    def _leave_after(self, work: Future[Any], line: Line, loop: asyncio.AbstractEventLoop) -> None:
        """Give a turn back when the work has ended. If its caller was cancelled, its thread may still be at it."""
        if work.done():
            self._turns.leave(line)
            return

        def ended(_: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._turns.leave, line)

        work.add_done_callback(ended)

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
