"""The connections to the database, as the settings say."""

from __future__ import annotations

from collections.abc import Mapping

from chatserver.metrics import Metrics
from chatserver.settings import Settings
from chatserver.storage.postgres.database import Database


def open_database(
    settings: Settings,
    url: str,
    metrics: Metrics,
    connections: int,
    *,
    heavy: int | None = None,
    session_settings: Mapping[str, str] | None = None,
    call_seconds: float | None = None,
) -> Database:
    """The database at `url`. `heavy` and what follows: as for `Database`. Nothing is connected yet."""
    return Database(
        url,
        connections=connections,
        statement_timeout_seconds=settings.statement_timeout_seconds,
        metrics=metrics,
        pooled=settings.listen_database_url is not None,
        heavy=heavy,
        session_settings=session_settings,
        call_seconds=call_seconds,
    )
