"""The count of a company's streams, as several processes keep it while streams open, close and are given up."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from chatserver.errors import RateLimitedError
from chatserver.ids import uuid7
from chatserver.metrics import Metrics
from chatserver.services import company_streams
from chatserver.services.access import Actor, Role
from chatserver.services.company_streams import CompanyStreams
from chatserver.services.owners import Owners
from chatserver.storage.postgres.database import Database
from tests.kit.waiting import eventually

LIMIT = 4


@asynccontextmanager
async def processes(url: str, count: int) -> AsyncIterator[list[CompanyStreams]]:
    databases = [
        Database(url, connections=1, statement_timeout_seconds=10, metrics=Metrics("0"), heavy=0) for _ in range(count)
    ]
    made = [CompanyStreams(database, Owners(database, uuid4()), uuid7(), LIMIT) for database in databases]
    try:
        yield made
    finally:
        for streams, database in zip(made, databases, strict=True):
            await streams.close()
            database.close()


class World:
    """What is open, by company, as clients see it."""

    def __init__(self, engine: Engine) -> None:
        self.open: dict[UUID, int] = {}
        self.most = 0
        self._engine = engine

    def counted(self, company: UUID) -> int:
        with self._engine.connect() as connection:
            counted = text(
                "SELECT coalesce(sum(streams), 0) FROM chat_open_streams"
                " WHERE company_id = :company AND counted_until > now()"
            )
            return int(connection.execute(counted, {"company": company}).scalar_one())

    def counts_none_of(self, company: UUID) -> bool:
        return self.counted(company) == 0

    async def fill(self, made: Sequence[CompanyStreams], company: UUID) -> int:
        """Ask for twice as many streams as a company may have, in all processes at once; how many were open."""
        refused, already, enough = 0, self.open.get(company, 0), asyncio.Event()

        async def use(at: int) -> bool:
            nonlocal refused
            had_room = await self.use(made[at % len(made)], company, enough.wait)
            refused += not had_room
            return had_room

        uses = [asyncio.create_task(use(at)) for at in range(2 * LIMIT)]
        await eventually(lambda: refused + self.open.get(company, 0) == len(uses) + already)
        enough.set()
        return sum(await asyncio.gather(*uses))

    async def use(self, streams: CompanyStreams, company: UUID, until: Callable[[], Awaitable[object]]) -> bool:
        """Have a stream open for a while; whether there was room."""
        actor = Actor("a", {company: Role.READER}, "a")
        try:
            async with streams.counted(actor, uuid4()):
                self.open[company] = self.open.get(company, 0) + 1
                self.most = max(self.most, self.open[company])
                try:
                    await until()
                finally:
                    self.open[company] -= 1
        except RateLimitedError:
            return False
        return True


@pytest.mark.parametrize("seed", range(3))
async def test_never_too_many_are_open_and_none_is_counted_for_ever(
    module_database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(company_streams, "HEARTBEAT_SECONDS", 0.02)  # so that heartbeats get in between
    chance, world, companies = random.Random(seed), World(engine), [uuid4() for _ in range(2)]
    async with processes(module_database_url, 3) as made:

        async def client() -> None:
            for _ in range(12):
                while_open = partial(asyncio.sleep, chance.uniform(0, 0.01))
                use = asyncio.create_task(world.use(chance.choice(made), chance.choice(companies), while_open))
                if chance.random() < 0.3:  # the client leaves, whatever happens at that moment
                    await asyncio.sleep(chance.uniform(0, 0.01))
                    use.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await use

        await asyncio.gather(*(client() for _ in range(16)))
        assert 1 < world.most <= LIMIT
        for company in companies:
            await eventually(partial(world.counts_none_of, company))
            assert await world.fill(made, company) == LIMIT


async def test_a_number_that_was_lost_is_written_again_and_rows_of_the_dead_go(
    module_database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(company_streams, "HEARTBEAT_SECONDS", 0.02)
    world, company = World(engine), uuid4()
    async with processes(module_database_url, 2) as (one, two):
        using = [asyncio.create_task(world.use(one, company, asyncio.Event().wait)) for _ in range(2)]
        await eventually(lambda: world.counted(company) == 2)
        with engine.connect() as connection:
            connection.execute(text("DELETE FROM chat_open_streams"))
            connection.execute(text("INSERT INTO chat_open_streams VALUES (:c, :c, 9, now())"), {"c": company})
        await eventually(lambda: world.counted(company) == 2)
        assert await world.fill([two], company) == LIMIT - 2
        for task in using:
            task.cancel()
        await asyncio.gather(*using, return_exceptions=True)
        with engine.connect() as connection:
            await eventually(lambda: not connection.execute(text("SELECT FROM chat_open_streams")).all())
