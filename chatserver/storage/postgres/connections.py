"""The connections to PostgreSQL: how they are made, and what holds on each of them.

The settings of a session come from many places: the server, the database, the role, the URL, libpq's variables. What
this code relies on is therefore set on each connection, after all of them.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError

from chatserver.errors import ConfigurationError

# How long a connection attempt may take (libpq rounds to whole seconds, at least 2).
CONNECT_SECONDS = 3
# Within a transaction nothing waits but for PostgreSQL itself.
IDLE_TRANSACTION_SECONDS = 10
# A migration may work on its own between two statements.
IDLE_MIGRATION_SECONDS = 600

# How values are written. The search path is not here: it says which schema of the operator's holds the tables.
FORMS = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
}
ISOLATION = "read committed"
# Our own option of an engine: it leads to a transaction pooler.
POOLED = "pooled"


def make_engine(
    url: str,
    *,
    connections: int = 1,
    statement_timeout_seconds: float | None = None,
    pooled: bool = False,
    session_settings: Mapping[str, str] | None = None,
    on_connect: Callable[[psycopg.Connection[Any]], None] = lambda _: None,
) -> Engine:
    """An engine whose connections are in autocommit mode. Nothing is connected yet.

    `url` is a libpq URL. `statement_timeout_seconds` None: statements take as long as they need, as in a migration.
    `session_settings`: further settings. `pooled`: the URL leads to a transaction pooler, so no prepared statements are
    used, settings are those of transactions, and the mode is not autocommit: `single_statement` commits. `on_connect`
    is called with each new connection, before anything is asked on it. Raises ConfigurationError for a malformed URL.
    """
    parameters = connection_parameters(url)
    settings = FORMS | _bounds(statement_timeout_seconds) | dict(session_settings or {})
    set_session = None if pooled else _set(settings | {"default_transaction_isolation": ISOLATION}, local=False)

    def connect() -> psycopg.Connection[Any]:
        # libpq reads the URL: it knows more forms than SQLAlchemy, such as several hosts.
        connection = psycopg.connect(**parameters, autocommit=True, prepare_threshold=None if pooled else 3)
        try:
            on_connect(connection)
            if set_session is not None:
                connection.execute(set_session)
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        isolation_level="READ COMMITTED" if pooled else "AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        # Errors are logged; texts of users must not be.
        hide_parameters=True,
        execution_options={POOLED: pooled},
    )
    event.listen(engine, "checkout", _refuse_dead_connection)
    if pooled:
        # The pooler gives the next transaction another session, and this session to somebody else.
        transaction_settings = _set(settings, local=True)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(transaction_settings))
    return engine


def connection_parameters(url: str) -> dict[str, Any]:
    """What libpq is told to connect. Raises ConfigurationError for a malformed URL."""
    parameters: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "chatserver",
        # A server that vanished is noticed within about 15 s.
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 2,
        "tcp_user_timeout": 15_000,
    }
    try:
        # The parameters of the URL win.
        parameters.update(conninfo_to_dict(url))
    except psycopg.Error as error:
        raise ConfigurationError("database_url is not a PostgreSQL URL") from error
    # But for this one, in which all texts come and go. It also wins over PGCLIENTENCODING.
    parameters["client_encoding"] = FORMS["client_encoding"]
    return parameters


def cut(connection: psycopg.BaseConnection[Any]) -> None:
    """Cut a connection, so that whoever waits for the server gets an error. PostgreSQL ends what was begun on it."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's code for an error; None: the error is not PostgreSQL's."""
    return getattr(error.orig, "sqlstate", None)


@contextmanager
def single_statement(engine: Engine) -> Iterator[Connection]:
    """A connection for one statement, which is committed at once.

    Behind a transaction pooler it is a transaction, which its settings need. Else it is none: that would take two round
    trips more.
    """
    with engine.begin() if engine.get_execution_options()[POOLED] else engine.connect() as connection:
        yield connection


class OpenConnections:
    """The open connections of an engine. A thread that waits on one can be freed."""

    def __init__(self, engine: Engine) -> None:
        self._open: WeakSet[psycopg.Connection[Any]] = WeakSet()
        event.listen(engine, "connect", lambda connection, _record: self._open.add(connection))
        event.listen(engine, "close", lambda connection, _record: self._open.discard(connection))

    def cut(self) -> None:
        """Cut all of them."""
        for connection in list(self._open):
            cut(connection)


def _bounds(statement_timeout_seconds: float | None) -> dict[str, str]:
    """Bounds that hold even if the process freezes: in the middle of a transaction it would hold its locks for ever."""
    if statement_timeout_seconds is None:
        statement, idle = 0.0, IDLE_MIGRATION_SECONDS
    else:
        statement, idle = statement_timeout_seconds, IDLE_TRANSACTION_SECONDS
    return {
        "statement_timeout": f"{math.ceil(statement * 1000)}ms",
        "idle_in_transaction_session_timeout": f"{idle * 1000}ms",
    }


def _set(settings: Mapping[str, str], *, local: bool) -> str:
    """One statement, and so one round trip, that sets all of them: for the session, or for the transaction alone."""
    calls = (f"set_config('{name}', '{value}', {str(local).lower()})" for name, value in settings.items())
    return f"SELECT {', '.join(calls)}"


def _refuse_dead_connection(connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    """Have the pool replace a connection that the server closed while it was idle.

    An idle connection has something to read only if the server closed it. Looking costs no round trip.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    if poll.poll(0):
        raise DisconnectionError("the server closed the connection")
