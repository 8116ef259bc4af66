"""Whether the database answers, for those who send traffic here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection, text

from chatserver.errors import DatabaseUnavailableError

# A load balancer's patience is about that of its clients.
ANSWER_SECONDS = 2

_PING = text("SELECT 1")

T = TypeVar("T")


class Asked(Protocol):
    """The one method of `Database` that is needed here."""

    async def autocommit(self, function: Callable[[Connection], T]) -> T: ...


async def require_database(database: Asked) -> None:
    """Raises DatabaseUnavailableError when it does not answer in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await database.autocommit(_ping)
    except TimeoutError:
        raise DatabaseUnavailableError from None


def _ping(connection: Connection) -> None:
    connection.execute(_PING)
