"""The connections to PostgreSQL: how they are made, and what holds on each of them."""

from __future__ import annotations

import select
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError

from chatserver.errors import ConfigurationError

# How long a connection attempt may take (libpq rounds to whole seconds, at least 2).
CONNECT_SECONDS = 3
# Within a transaction nothing waits but for PostgreSQL itself.
IDLE_TRANSACTION_SECONDS = 10


def make_engine(
    url: str, *, connections: int = 1, statement_timeout_seconds: float | None = None, pooled: bool = False
) -> Engine:
    """An engine whose connections are in autocommit mode. Nothing is connected yet.

    `url` is a libpq URL. `pooled`: it leads to a transaction pooler, so no prepared statements and no session settings
    are used. Raises ConfigurationError for a malformed URL.
    """
    parameters: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "chatserver",
        # A server that vanished is noticed within about 15 s.
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 2,
        "tcp_user_timeout": 15_000,
    }
    if not pooled and statement_timeout_seconds is not None:
        # A process that froze within a transaction must not hold its locks for ever.
        parameters["options"] = (
            f"-c statement_timeout={int(statement_timeout_seconds * 1000)}"
            f" -c idle_in_transaction_session_timeout={int(IDLE_TRANSACTION_SECONDS * 1000)}"
        )
    try:
        # The parameters of the URL win.
        parameters.update(conninfo_to_dict(url))
    except psycopg.Error as error:
        raise ConfigurationError("database_url is not a PostgreSQL URL") from error
    prepare_threshold = None if pooled else 3

    def connect() -> psycopg.Connection[Any]:
        # libpq reads the URL: it knows more forms than SQLAlchemy, such as several hosts.
        return psycopg.connect(**parameters, prepare_threshold=prepare_threshold)

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        # Errors are logged; texts of users must not be.
        hide_parameters=True,
    )
    event.listen(engine, "checkout", _refuse_dead_connection)
    return engine


def _refuse_dead_connection(connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    """Have the pool replace a connection that the server closed while it was idle.

    An idle connection has something to read only if the server closed it. Looking costs no round trip.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    if poll.poll(0):
        raise DisconnectionError("the server closed the connection")
