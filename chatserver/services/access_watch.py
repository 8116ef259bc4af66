"""Ends what goes on for those who have lost access: a token was revoked or expired, a session was ended.

Each process looks for itself, once a second, so that nothing depends on a message between processes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from functools import partial
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from chatserver import logs
from chatserver.errors import DatabaseUnavailableError
from chatserver.services.access import Access
from chatserver.services.health import Asked
from chatserver.storage.sign_in import Lifetimes, Lost, lost

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# Nobody's access is taken for granted for longer than this: without the database nobody can say that it is lost.
UNSEEN_SECONDS = 60.0
# How many are told in one turn of the loop. Each ends a response.
TOLD_PER_TURN = 32


class Holder(Protocol):
    """What goes on by somebody's access, such as a stream."""

    def access_lost(self) -> None:
        """End it."""


class Continuing(Protocol):
    """The answers that go on without readers, on behalf of tokens."""

    def askers(self) -> Collection[UUID]:
        """Those tokens."""

    def forsake(self, tokens: Collection[UUID]) -> None:
        """These tokens have lost access: nothing goes on for them alone."""


class AccessWatch:
    """Looks after all holders of this process, from `start` to `close`."""

    def __init__(self, database: Asked, answers: Continuing, lifetimes: Lifetimes) -> None:
        self._database = database
        self._answers = answers
        self._lifetimes = lifetimes
        self._holders: dict[Access, set[Holder]] = {}
        self._task: asyncio.Task[None] | None = None
        self._seen_at = 0.0

    def hold(self, access: Access, holder: Holder) -> None:
        """From now on the holder is told if this access is lost."""
        self._holders.setdefault(access, set()).add(holder)

    def release(self, access: Access, holder: Holder) -> None:
        """The holder has ended. May be called again."""
        holders = self._holders.get(access)
        if holders is not None:
            holders.discard(holder)
            if not holders:
                del self._holders[access]

    def start(self) -> None:
        """Begin to look."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), context=logs.without_request())

    async def close(self) -> None:
        """Look no more. May be called again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        self._seen_at = clock()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except DatabaseUnavailableError:
                pass
            except Exception:
                logger.exception("access could not be looked after")
            if clock() - self._seen_at > UNSEEN_SECONDS:
                await self._tell(tuple(self._holders))

    async def look(self) -> None:
        """Find out who has lost access, and end what goes on for them. Raises DatabaseUnavailableError."""
        began = asyncio.get_running_loop().time()
        held = tuple(self._holders)
        tokens = {(access.token_id, access.role) for access in held}
        # A token whose stream is still opening may be an asker only by now.
        askers = frozenset(self._answers.askers()) | {access.token_id for access in held}
        sessions = {access.session_id for access in held if access.session_id is not None}
        gone = Lost(frozenset(), frozenset(), frozenset())
        if tokens or sessions or askers:
            gone = await self._database.autocommit(partial(_lost, tokens, sessions, askers, self._lifetimes))
        self._seen_at = began
        if gone.askers:
            self._answers.forsake(gone.askers)
        await self._tell(
            [each for each in held if (each.token_id, each.role) in gone.tokens or each.session_id in gone.sessions]
        )

    async def _tell(self, accesses: Collection[Access]) -> None:
        told = 0
        for access in accesses:
            for holder in tuple(self._holders.get(access, ())):
                if holder not in self._holders.get(access, ()):
                    continue  # it ended meanwhile
                try:
                    holder.access_lost()
                except Exception:
                    logger.exception("what somebody without access holds could not be ended")
                told += 1
                if told % TOLD_PER_TURN == 0:
                    await asyncio.sleep(0)
        if told:
            logger.info("access was lost: %d responses end", told)


def _lost(
    tokens: Collection[tuple[UUID, str]],
    sessions: Collection[UUID],
    askers: Collection[UUID],
    lifetimes: Lifetimes,
    connection: Connection,
) -> Lost:
    return lost(connection, tokens, sessions, askers, lifetimes)
