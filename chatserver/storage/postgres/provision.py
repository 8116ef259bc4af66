"""Providing the database of the settings: an outside one or the embedded one, running and migrated."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chatserver.settings import Settings
from chatserver.storage.postgres.embedded import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class ProvidedDatabase:
    """The libpq URL; and the server, if it is the embedded one, for starting it again if it is lost.

    `note`: what the operator should know of the schema, as `upgrade` of `migrate.py` says.
    """

    url: str
    embedded: EmbeddedPostgres | None = None
    note: str | None = None


@contextmanager
def provided_database(
    settings: Settings, given_up: threading.Event | None = None, *, finish: bool = False
) -> Iterator[ProvidedDatabase]:
    """The migrated database. An embedded one runs at least until the end of the context.

    Blocks while it starts, migrates and stops. `given_up`: as for `EmbeddedPostgres.start`; `finish`: as for `upgrade`
    of `migrate.py`. Raises ConfigurationError, also if a transaction pooler stands in between of which the settings say
    nothing.
    """
    if settings.database_url is not None:
        _require_direct(settings.database_url, settings.listen_database_url)
        note = _upgrade(settings.database_url, pooled=settings.listen_database_url is not None, finish=finish)
        yield ProvidedDatabase(settings.database_url, note=note)
        return
    server = EmbeddedPostgres(settings.data_dir)
    url = server.start(given_up)
    try:
        note = _upgrade(url, finish=finish)
        yield ProvidedDatabase(url, server, note)
    finally:
        server.stop()


def _require_direct(url: str, listen_url: str | None) -> None:
    from chatserver.storage.postgres.pooler import require_direct

    require_direct(url, listen_url)


def _upgrade(url: str, *, pooled: bool = False, finish: bool) -> str | None:
    # It loads SQLAlchemy. An embedded server starts meanwhile, or before.
    from chatserver.storage.postgres.migrate import upgrade

    return upgrade(url, pooled=pooled, finish=finish)
