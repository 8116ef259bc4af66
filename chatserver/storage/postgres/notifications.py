"""LISTEN for one process, on a connection of its own.

A notification is only a hint: one that gets lost delays what it would have hastened. So losing the connection is no
error. It is made again, and whoever listens is told to look, since something may have been missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.pq import ConnStatus

from chatserver import logs
from chatserver.metrics import Metrics
from chatserver.storage.postgres.connections import connection_parameters, cut

logger = logging.getLogger(__name__)

# How often the server is asked something, so that one that vanished is noticed, and how long it may take to answer.
LOOK_SECONDS = 5.0
ANSWER_SECONDS = 5.0
# The waits between two attempts to connect, and how long a connection lasted that counts as a good one.
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 2.0
GOOD_SECONDS = 10.0
# After so many notifications others have a turn.
HEARD_PER_TURN = 200
CLOSE_SECONDS = 1.0

Heard = Callable[[str], None]


class Notifications:
    """The channels that a process listens to. Belongs to the loop's thread."""

    def __init__(self, url: str, metrics: Metrics) -> None:
        """`url` must lead to the database directly, not through a transaction pooler."""
        self._parameters = connection_parameters(url)
        self._metrics = metrics
        self._channels: dict[str, Heard] = {}
        self._listened: set[str] = set()
        """The channels for which LISTEN has taken effect."""
        self._wake = asyncio.Event()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._told = False
        self._closing = False
        self._work: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether notifications arrive."""
        return self._connection is not None

    def listen(self, channel: str, heard: Heard) -> None:
        """From now on call `heard` with the payload of each notification of the channel.

        `heard("")` is called when some may have been missed: when the process begins to hear the channel, and each
        time after a loss of the connection.
        """
        self._listened.discard(channel)
        self._channels[channel] = heard
        self._wake.set()

    def unlisten(self, channel: str) -> None:
        """Listen to the channel no more."""
        self._channels.pop(channel, None)
        self._wake.set()

    def start(self) -> None:
        """Begin to listen. No effect if it does already, or after `close`."""
        if self._work is None and not self._closing:
            self._work = asyncio.get_running_loop().create_task(self._repeat(), context=logs.without_request())

    async def close(self) -> None:
        """Listen no more. May be called again."""
        self._closing = True
        if self._work is None:
            return
        if self._connection is not None:
            # To cancel a statement would first ask the server, which may not answer.
            cut(self._connection)
            await asyncio.wait({self._work}, timeout=CLOSE_SECONDS)
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)

    # --- the task -----------------------------------------------------------------------------------------

    async def _repeat(self) -> None:
        clock = asyncio.get_running_loop().time
        wait = FIRST_RETRY_SECONDS
        while not self._closing:
            began = clock()
            try:
                await self._connect_and_hear()
            except (psycopg.Error, OSError) as error:
                self._lost(error)
            except Exception:
                logger.exception("notifications could not be heard")
            if clock() - began > GOOD_SECONDS:
                wait = FIRST_RETRY_SECONDS
            if not self._closing:
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            wait = min(2 * wait, LONGEST_RETRY_SECONDS)

    def _lost(self, error: Exception) -> None:
        if not self._told and not self._closing:
            self._told = True
            reason = str(error).strip().partition("\n")[0]
            logger.warning("other processes cannot be heard, so what they do is noticed later: %s", reason)

    async def _connect_and_hear(self) -> None:
        """Hear until the connection is lost, which raises an error of psycopg."""
        connection = await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True, prepare_threshold=None)
        try:
            if self._closing:
                return
            connection.add_notify_handler(lambda notify: self._hear(notify.channel, notify.payload))
            self._connection = connection
            self._listened = set()
            on_server: set[str] = set()
            while True:
                on_server = await self._listen_to_channels(connection, on_server)
                self._metrics.listening.set(1)
                if self._told:
                    self._told = False
                    logger.info("other processes are heard again")
                if not await self._something_comes(connection):
                    await _answered(connection, "SELECT 1")
        finally:
            self._connection = None
            self._metrics.listening.set(0)
            with contextlib.suppress(psycopg.Error):
                await connection.close()

    async def _listen_to_channels(self, connection: psycopg.AsyncConnection[Any], on_server: set[str]) -> set[str]:
        """Have the server know the channels, all with one statement; those that it knows."""
        wanted = set(self._channels)
        statements = [f'UNLISTEN "{channel}"' for channel in on_server - wanted]
        statements += [f'LISTEN "{channel}"' for channel in wanted - on_server]
        if statements:
            await _answered(connection, "; ".join(statements))
        new = wanted - self._listened
        self._listened = wanted
        for channel in new:
            self._hear(channel, "")
        return wanted

    async def _something_comes(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """Hear what comes, until the channels change; False if nothing came for LOOK_SECONDS."""
        loop, came = asyncio.get_running_loop(), False
        while True:
            number = connection.fileno()
            loop.add_reader(number, self._wake.set)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                return came
            finally:
                loop.remove_reader(number)
            self._wake.clear()
            came = True
            connection.pgconn.consume_input()
            if connection.pgconn.status != ConnStatus.OK:
                raise psycopg.OperationalError("the server closed the connection")
            await self._hear_all(connection)
            if self._channels.keys() != self._listened:
                return True

    async def _hear_all(self, connection: psycopg.AsyncConnection[Any]) -> None:
        heard = 0
        while (notify := connection.pgconn.notifies()) is not None:
            self._hear(notify.relname.decode(), notify.extra.decode())
            heard += 1
            if heard % HEARD_PER_TURN == 0:
                await asyncio.sleep(0)

    def _hear(self, channel: str, payload: str) -> None:
        heard = self._channels.get(channel)
        if heard is None:
            return
        try:
            heard(payload)
        except Exception:
            # The others have to be told all the same.
            logger.exception("a notification could not be taken in")


async def _answered(connection: psycopg.AsyncConnection[Any], statement: str) -> None:
    """Carry out a statement. If the server does not answer in time, the connection is cut, which raises an error."""
    too_late = asyncio.get_running_loop().call_later(ANSWER_SECONDS, cut, connection)
    try:
        await connection.execute(statement.encode())
    finally:
        too_late.cancel()
