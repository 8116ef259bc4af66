"""The database of the settings, for one command: it works beside running servers, and without any."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chatserver.databases import open_database
from chatserver.metrics import Metrics
from chatserver.settings import Settings
from chatserver.storage.postgres.database import Database
from chatserver.storage.postgres.provision import provided_database
from chatserver.storage.postgres.vacuum import vacuum as vacuum_tables
from chatserver.version import installed_version

T = TypeVar("T")


def with_database(settings: Settings, work: Callable[[Database], Awaitable[T]], *, vacuum: bool = False) -> T:
    """What `work` returns, given the migrated database. `vacuum`: afterwards its tables are vacuumed.

    Raises ConfigurationError, and anything that `work` raises.
    """

    async def carry_out(url: str) -> T:
        # One connection each for short calls and for heavy ones. Nobody waits behind a command: only its statements are
        # bounded, not what it does with many of them.
        database = open_database(settings, url, Metrics(installed_version()), 2, call_seconds=math.inf)
        try:
            return await work(database)
        finally:
            database.close()

    with provided_database(settings) as provided:
        done = asyncio.run(carry_out(provided.url))
        if vacuum:
            vacuum_tables(settings.listen_database_url or provided.url)
        return done
