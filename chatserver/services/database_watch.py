"""Keeps the embedded database running while the server runs: nobody else would start it again."""

from __future__ import annotations

import asyncio
import logging
import threading

from chatserver.errors import ConfigurationError, DatabaseUnavailableError
from chatserver.services.health import DatabaseHealth
from chatserver.storage.postgres.embedded import EmbeddedPostgres, StartGivenUpError

logger = logging.getLogger(__name__)

# How often the database is asked whether it answers.
LOOK_SECONDS = 1.0


class DatabaseWatch:
    """Asks the embedded database every LOOK_SECONDS whether it answers, and starts it if it does not."""

    def __init__(self, embedded: EmbeddedPostgres, health: DatabaseHealth) -> None:
        """`health` is that of `embedded`."""
        self._embedded = embedded
        self._health = health
        self._closing = asyncio.Event()
        self._given_up = threading.Event()
        self._starting = False
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it looks after the database."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to look after the database. No effect if it does already, or after `close`."""
        if self._task is None and not self._closing.is_set():
            self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Look no more. A start that is under way is given up. May be called again."""
        self._closing.set()
        self._given_up.set()
        if self._task is not None:
            if not self._starting:
                self._task.cancel()
            await asyncio.wait({self._task})

    async def _watch(self) -> None:
        while not await self._closes_within(LOOK_SECONDS):
            try:
                await self._look()
            except StartGivenUpError:
                return
            except ConfigurationError as error:
                logger.error("%s", error.message)
            except Exception:
                logger.exception("the embedded database could not be looked after")

    async def _closes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True

    async def _look(self) -> None:
        try:
            await self._health.require()
        except DatabaseUnavailableError:
            logger.warning("the embedded database does not answer: starting it")
            self._starting = True
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._embedded.start, self._given_up)
            finally:
                self._starting = False
