"""Calls of the database that read or copy much: on a lane of their own, and cancelled when their caller leaves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from chatserver.errors import UnavailableError
from chatserver.storage.postgres.connections import sqlstate

P = ParamSpec("P")
T = TypeVar("T")

TIMED_OUT_SQLSTATE = "57014"  # query_canceled: here by statement_timeout
RETRY_AFTER_SECONDS = 30
# How long the server may take to accept that a statement is to be cancelled.
CANCEL_SECONDS = 3.0


def heavy_connections(connections: int) -> int:
    """How many of the connections serve heavy calls: three of eight."""
    return max(1, connections * 3 // 8)


# The caller left, and does not see it, unless the server is stopping.
class InterruptedCallError(UnavailableError):
    """The server is stopping"""


class StatementTimeoutError(UnavailableError):
    """This request takes too long"""


class Statements:
    """The statements of one call. `cancel` may be called on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._driver: psycopg.Connection[Any] | None = None
        self._cancelled = False

    def watched(self, function: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate[Connection, P], T]:
        """`function`, whose statements `cancel` ends; it then raises InterruptedCallError."""

        def call(connection: Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
            with self._on(connection):
                return function(connection, *args, **kwargs)

        return call

    @contextmanager
    def _on(self, connection: Connection) -> Iterator[None]:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with self._lock:
            self._require_wanted()
            self._driver = driver
        try:
            yield
        except DBAPIError as error:
            self._require_wanted()
            if sqlstate(error) == TIMED_OUT_SQLSTATE:
                raise StatementTimeoutError(retry_after_seconds=RETRY_AFTER_SECONDS) from None
            raise
        finally:
            # Waits while a cancel is on its way: afterwards the connection serves others.
            with self._lock:
                self._driver = None

    def _require_wanted(self) -> None:
        if self._cancelled:
            raise InterruptedCallError from None

    def cancel(self) -> None:
        """Cancel the statement that runs, if one does. Between two statements it has no effect."""
        with self._lock:
            self._cancelled = True
            if self._driver is not None:
                with contextlib.suppress(psycopg.Error):
                    self._driver.cancel_safe(timeout=CANCEL_SECONDS)


class _Run(Protocol):
    def __call__(
        self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], *, transaction: bool
    ) -> Awaitable[T]: ...


class HeavyCalls:
    """The heavy calls of one company, with the methods of `Database`."""

    def __init__(self, run: _Run) -> None:
        self._run = run

    async def autocommit(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `Database.autocommit`.

        Raises UnavailableError, too, if too many heavy calls wait, and StatementTimeoutError.
        """
        return await self._run(function, args, kwargs, transaction=False)

    async def transaction(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `Database.transaction`, but all its statements see the database as it was at the first one.

        Raises UnavailableError, too, if too many heavy calls wait, or if a statement takes too long.
        """
        return await self._run(function, args, kwargs, transaction=True)
