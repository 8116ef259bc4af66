"""Whether a transaction pooler stands before the database, found out by trying.

Such a pooler gives each transaction any of its own connections. What a session was told, and LISTEN, are then somebody
else's, and nothing says so. It works if the server knows of it: `listen_database_url` leads past the pooler.
"""

from __future__ import annotations

import logging
from time import monotonic, sleep
from typing import Any, Literal
from uuid import uuid4

import psycopg

from chatserver.errors import ConfigurationError

logger = logging.getLogger(__name__)

# Two clients ask in this order. Whether a pooler takes the connection that it used last, or the one that waited for
# longest, one of them gets two of them, or both the same.
_ORDER = (0, 0, 1, 1, 0, 1)
# PostgreSQL sends a notification with the next answer, or the one after that.
HEARD_WITHIN_SECONDS, LOOK_SECONDS = 1.0, 0.002

Setting = Literal["database_url", "listen_database_url"]


def require_direct(database_url: str, listen_database_url: str | None) -> None:
    """Raises ConfigurationError if a transaction pooler is in the way, or the two lead to different databases.

    Errors of the database are not for here: it may be away for a moment.
    """
    try:
        _try(database_url, listen_database_url)
    except psycopg.OperationalError as error:
        logger.debug("nobody knows whether there is a pooler: %s", error)


def _try(database_url: str, listen_database_url: str | None) -> None:
    setting: Setting = "database_url" if listen_database_url is None else "listen_database_url"
    with _connect(listen_database_url or database_url) as one, _connect(listen_database_url or database_url) as other:
        if _share_sessions(one, other):
            raise ConfigurationError(_pooled(setting))
        if listen_database_url is None:
            if not _hears(one, other):
                raise ConfigurationError(_pooled(setting))
            return
        with _connect(database_url) as speaker:
            if not _hears(one, speaker):
                raise ConfigurationError("listen_database_url leads to another database than database_url")


def _connect(url: str) -> psycopg.Connection[Any]:
    # Most starts need the module only later.
    from chatserver.storage.postgres.connections import connection_parameters

    return psycopg.connect(**connection_parameters(url), autocommit=True, prepare_threshold=None)


def _share_sessions(*clients: psycopg.Connection[Any]) -> bool:
    """Whether a client's session changes, or two clients have the same one."""
    sessions: tuple[set[int], ...] = tuple(set() for _ in clients)
    for number in _ORDER:
        row = clients[number].execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        sessions[number].add(row[0])
    return any(len(each) > 1 for each in sessions) or sessions[0] == sessions[1]


def _hears(listener: psycopg.Connection[Any], speaker: psycopg.Connection[Any]) -> bool:
    """Whether what one client says by NOTIFY comes to the other one."""
    channel = f"chatserver_{uuid4().hex}"
    heard: list[psycopg.Notify] = []
    listener.add_notify_handler(heard.append)
    try:
        listener.execute(f'LISTEN "{channel}"'.encode())
    except psycopg.NotSupportedError:
        return False
    speaker.execute("SELECT pg_notify(%s, '')", [channel])
    deadline = monotonic() + HEARD_WITHIN_SECONDS
    while not heard and monotonic() < deadline:
        listener.execute("SELECT 1")  # what has come by then is read before the answer
        sleep(LOOK_SECONDS)
    return bool(heard)


def _pooled(setting: Setting) -> str:
    if setting == "listen_database_url":
        return "listen_database_url leads through a transaction pooler: it must be a direct address of the database"
    return (
        "database_url leads through a transaction pooler: set listen_database_url to a direct address of the database"
    )
