"""Whether the database answers: for load balancers, and for what has to happen when it is back.

The question goes to a `Database` of its own, of which a call takes ANSWER_SECONDS at most: so it waits behind nothing,
and a connection that leads nowhere is given up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from sqlalchemy import Connection, text

from chatserver import logs
from chatserver.errors import DatabaseUnavailableError

logger = logging.getLogger(__name__)

# Load balancers give up on a health check after a few seconds: respond before that.
ANSWER_SECONDS = 1.5
# How often the database is asked.
LOOK_SECONDS = 1.0
# If it has not answered so often in a row, it was away. One late answer is no absence.
AWAY_FAILURES = 2
# When it is back, calls that have been under way for longer are given up.
HANGING_SECONDS = 1.0

_PING = text("SELECT 1")


T = TypeVar("T")


class Asked(Protocol):
    """The one method of `Database` by which something is asked here."""

    async def autocommit(self, function: Callable[[Connection], T]) -> T: ...


class Used(Protocol):
    """The method of `Database` that frees the threads of others."""

    def give_up_hanging(self, seconds: float) -> None: ...


class DatabaseHealth:
    """Asks the database every LOOK_SECONDS whether it answers.

    When it answers again after it did not, the calls that still hang are given up: they may wait on connections that
    lead nowhere, and others need their threads.
    """

    def __init__(self, probe: Asked, databases: Collection[Used]) -> None:
        """`probe` is for this alone; `databases` are those that others use."""
        self._probe = probe
        self._databases = tuple(databases)
        self._failures = 0
        """How often in a row it has not answered."""
        self._asking: asyncio.Task[None] | None = None
        self._work: asyncio.Task[None] | None = None

    async def require(self) -> None:
        """Raises DatabaseUnavailableError if the database does not answer, after 2 s at the latest.

        All who ask at the same time share one question: they neither wait for one another nor count as several.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask(), context=logs.without_request())
            # If all have left, nobody takes the error.
            self._asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        try:
            await self._probe.autocommit(_ping)
        except DatabaseUnavailableError:
            self._failures += 1
            raise
        if self._failures >= AWAY_FAILURES:
            for database in self._databases:
                database.give_up_hanging(HANGING_SECONDS)
        self._failures = 0

    def start(self) -> None:
        """Begin to ask. No effect if it does already."""
        if self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._repeat(), context=logs.without_request())

    async def close(self) -> None:
        """Ask no more. May be called again."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _repeat(self) -> None:
        while True:
            try:
                await self.require()
            except DatabaseUnavailableError:
                pass
            except Exception:
                logger.exception("the database could not be asked")
            await asyncio.sleep(LOOK_SECONDS)


def _ping(connection: Connection) -> None:
    connection.execute(_PING)
