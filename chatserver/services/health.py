"""Whether the database answers: for load balancers, and for the watch over the embedded database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection, text

from chatserver.errors import DatabaseUnavailableError

# Load balancers give up on a health check after a few seconds: respond before that.
ANSWER_SECONDS = 2

_PING = text("SELECT 1")

T = TypeVar("T")


class Asked(Protocol):
    """The one method of `Database` that is used here."""

    async def autocommit(self, function: Callable[[Connection], T]) -> T: ...


async def require_database(database: Asked) -> None:
    """Raises DatabaseUnavailableError if the database does not answer within ANSWER_SECONDS."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await database.autocommit(_ping)
    except TimeoutError:
        raise DatabaseUnavailableError from None


def _ping(connection: Connection) -> None:
    connection.execute(_PING)
