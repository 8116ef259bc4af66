"""At most so many open streams of one company, over all processes.

One task of this process writes its numbers to the database, one transaction at a time, for all companies that something
changed for: so what it writes is always what is true here, whatever happened to a transaction before. Streams that open
or close meanwhile go with the next one. Every few seconds it writes all numbers again; those of a process that died
count no more after COUNTED_SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from chatserver import logs
from chatserver.errors import ChatServerError, DatabaseUnavailableError, NotFoundError, RateLimitedError
from chatserver.services.access import Actor
from chatserver.services.owners import Owners
from chatserver.storage.company_bounds import COUNTED_SECONDS, count_streams, forget_streams
from chatserver.storage.postgres.database import Database

logger = logging.getLogger(__name__)

# Three times in COUNTED_SECONDS, and a little more.
HEARTBEAT_SECONDS = COUNTED_SECONDS / 4
# How long what closes waits for more that closes. What opens waits for nothing.
CLOSING_SECONDS = 0.05
# The most companies of one transaction.
COMPANIES_AT_ONCE = 200
# A stream lasts some seconds.
RETRY_AFTER_SECONDS = 5
# How long the end of the process waits for the database.
FORGET_SECONDS = 1.0


class CompanyStreams:
    """Counts the open streams of this process for their companies. `limit` 0: nothing is counted, and nothing done."""

    def __init__(self, database: Database, owners: Owners, process: UUID, limit: int) -> None:
        """`database` is for this alone: a transaction may wait for one of another process."""
        self._database = database
        self._owners = owners
        self._process = process
        self._limit = limit
        self._open: Counter[UUID] = Counter()
        self._opening: dict[UUID, deque[asyncio.Future[bool]]] = {}
        """Those that wait for a place. No queue is empty."""
        self._changed: set[UUID] = set()
        """Companies whose number in the database may be too high."""
        self._wake = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._closed = False

    def counted(self, actor: Actor, conversation_id: UUID) -> AbstractAsyncContextManager[None]:
        """In here a stream of a conversation counts as one of its company.

        Raises RateLimitedError if the company has as many as it may have, NotFoundError if there is no such
        conversation for the actor, and UnavailableError.
        """
        return _Counted(self, actor, conversation_id) if self._limit else _NOT_COUNTED

    async def enter(self, actor: Actor, conversation_id: UUID) -> UUID:
        """Count a stream; the company. It must be given to `leave`."""
        company_id = await self._owners.company_of_conversation(actor, conversation_id)
        if company_id is None:
            raise NotFoundError("Conversation not found")
        if self._closed:
            raise DatabaseUnavailableError
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._opening.setdefault(company_id, deque()).append(place)
        self._start()
        try:
            has_place = await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None and place.result():
                self.leave(company_id)  # it was given at the same moment
            raise
        if not has_place:
            raise RateLimitedError(
                "Too many streams of this company are open",
                retry_after_seconds=RETRY_AFTER_SECONDS,
                bound="company_max_streams",
            )
        return company_id

    def leave(self, company_id: UUID) -> None:
        """A stream has closed."""
        self._open[company_id] -= 1
        if not self._open[company_id]:
            del self._open[company_id]
        self._correct(company_id)

    def _correct(self, company_id: UUID) -> None:
        """Have the number in the database corrected soon."""
        if not self._changed:
            asyncio.get_running_loop().call_later(CLOSING_SECONDS, self._wake.set)
        self._changed.add(company_id)

    def _start(self) -> None:
        if self._work is None:
            self._work = asyncio.create_task(self._repeat(), context=logs.without_request())
        self._wake.set()

    async def close(self) -> None:
        """Let none of this process count any more. May be called again."""
        self._closed = True
        if self._work is None:
            return
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)
        self._refuse(self._opening.pop(company) for company in tuple(self._opening))
        with contextlib.suppress(ChatServerError, TimeoutError):
            async with asyncio.timeout(FORGET_SECONDS):
                await self._database.autocommit(forget_streams, self._process, all_of_process=True)

    # --- the task -----------------------------------------------------------------------------------------

    async def _repeat(self) -> None:
        clock = asyncio.get_running_loop().time
        beat_at = clock() + HEARTBEAT_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(beat_at):
                    await self._wake.wait()
            self._wake.clear()
            try:
                if clock() >= beat_at:
                    beat_at = clock() + HEARTBEAT_SECONDS
                    await self._beat()
                await self._write(self._changed | self._opening.keys())
                while self._opening:
                    await self._write(set(self._opening))
            except Exception:
                logger.exception("streams of companies could not be counted")

    async def _beat(self) -> None:
        """Make all numbers be written again, and the rows that count no more be deleted."""
        self._changed.update(self._open)
        with contextlib.suppress(DatabaseUnavailableError):
            await self._database.autocommit(forget_streams, self._process)

    async def _write(self, companies: set[UUID]) -> None:
        for at in range(0, len(companies), COMPANIES_AT_ONCE):
            await self._write_some(tuple(companies)[at : at + COMPANIES_AT_ONCE])

    async def _write_some(self, companies: tuple[UUID, ...]) -> None:
        """Write the numbers of some companies, and give places to those that wait for one."""
        asking = {company: self._opening.pop(company, deque()) for company in companies}
        self._changed.difference_update(companies)
        opened = [self._open[company] for company in companies]
        wanted = [sum(not place.done() for place in asking[company]) for company in companies]
        try:
            given = await self._database.transaction(
                count_streams, self._process, self._limit, companies, opened, wanted
            )
        except BaseException as error:
            # It may have taken effect. The numbers are written again with the next heartbeat.
            self._changed.update(companies)
            self._refuse(asking.values())
            if not isinstance(error, ChatServerError):
                raise
        else:
            self._give(asking, given)

    def _give(self, asking: Mapping[UUID, deque[asyncio.Future[bool]]], given: Mapping[UUID, int]) -> None:
        for company_id, places in asking.items():
            left = given[company_id]
            for place in places:
                if place.done():  # its client left
                    continue
                place.set_result(left > 0)
                if left > 0:
                    left -= 1
                    self._open[company_id] += 1
            if left:
                self._correct(company_id)

    def _refuse(self, queues: Iterable[deque[asyncio.Future[bool]]]) -> None:
        for place in itertools.chain.from_iterable(queues):
            if not place.done():
                place.set_exception(DatabaseUnavailableError())


class _Counted(AbstractAsyncContextManager[None]):
    """One stream."""

    __slots__ = ("_actor", "_company_id", "_conversation_id", "_streams")

    def __init__(self, streams: CompanyStreams, actor: Actor, conversation_id: UUID) -> None:
        self._streams = streams
        self._actor = actor
        self._conversation_id = conversation_id

    async def __aenter__(self) -> None:
        self._company_id = await self._streams.enter(self._actor, self._conversation_id)

    async def __aexit__(self, *_: object) -> None:
        self._streams.leave(self._company_id)


class _NotCounted(AbstractAsyncContextManager[None]):
    async def __aexit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> None: ...


_NOT_COUNTED = _NotCounted()
