"""Short calls of the database: neither a flood of calls nor calls that block hold up those of others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from sqlalchemy import Connection

from chatserver.errors import DatabaseUnavailableError
from chatserver.origin import Share, share
from chatserver.storage.postgres.database import Database
from tests.kit.waiting import PATIENCE_SECONDS, eventually
from tests.storage.test_heavy_calls import database_at, value

T = TypeVar("T")

A, B = uuid4(), "somebody of several companies"
# How many clients send their next call as soon as the last one has ended, and after how many calls they give up.
CLIENTS, ENOUGH = 64, 3_000


def call(database: Database, whose: Share | None, function: Callable[[Connection], T]) -> asyncio.Task[T]:
    """A call in a share; None: in nobody's."""

    async def run() -> T:
        share.set(whose)
        return await database.autocommit(function)

    return asyncio.create_task(run())


@pytest.mark.parametrize("flooding", ["nobody", "companies"])
async def test_call_is_made_after_a_bounded_number_of_others(module_database_url: str, flooding: str) -> None:
    """On one thread, so they can be counted: two calls of companies and one of nobody's may be under way."""
    async with database_at(module_database_url, 1) as database:
        made: list[int] = []
        ended = False

        async def flood(whose: Share | None) -> None:
            while not ended and len(made) < ENOUGH:
                await call(database, whose, lambda _: made.append(1))

        async def passed(whose: Share | None) -> int:
            """How many other calls are made from the moment of a call until it is made."""
            share.set(whose)
            before = len(made)
            return await database.autocommit(lambda _: len(made)) - before

        async def some_made() -> None:
            target = len(made) + 2 * CLIENTS
            await eventually(lambda: len(made) >= target)

        floods = [asyncio.create_task(flood(None if flooding == "nobody" else uuid4())) for _ in range(CLIENTS)]
        other = A if flooding == "nobody" else None
        try:
            await some_made()
            # Until the first company comes, what is nobody's waits in the thread's own queue.
            assert await asyncio.create_task(passed(other)) <= (CLIENTS if flooding == "nobody" else 2)
            for _ in range(5):
                await some_made()
                assert await asyncio.create_task(passed(other)) <= (1 if flooding == "nobody" else 2)
        finally:
            ended = True
            await asyncio.gather(*floods)


@pytest.mark.parametrize("whose", [A, None])
async def test_who_cancels_blocked_calls_never_holds_all_threads(module_database_url: str, whose: Share | None) -> None:
    async with database_at(module_database_url, 4) as database:  # three threads for short calls
        begun: list[int] = []
        held = threading.Event()

        def block(_: Connection) -> None:
            begun.append(1)
            assert held.wait(PATIENCE_SECONDS)

        assert await call(database, B, value) == 7  # from now on there are shares
        try:
            for _ in range(5):
                calls = [call(database, whose, block) for _ in range(4)]
                await eventually(lambda: len(begun) == 2)
                async with asyncio.timeout(PATIENCE_SECONDS / 2):
                    assert await call(database, B, value) == 7
                for each in calls:
                    each.cancel()
                await asyncio.wait(calls)
            assert len(begun) == 2
        finally:
            held.set()
        # Each turn was given back, and only once.
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(call(database, whose, value) for _ in range(9)))
        held.clear()
        try:
            calls = [call(database, whose, block) for _ in range(4)]
            await eventually(lambda: len(begun) == 4)
            assert await call(database, B, value) == 7
            assert (len(begun), database.waiting_calls) == (4, 2)
        finally:
            held.set()
        await asyncio.gather(*calls)


async def test_cancelled_call_that_has_no_thread_yet_is_never_made(module_database_url: str) -> None:
    async with database_at(module_database_url, 1) as database:
        made: list[str] = []
        running, held = threading.Event(), threading.Event()

        def block(_: Connection) -> None:
            running.set()
            assert held.wait(PATIENCE_SECONDS)

        try:
            first = call(database, A, block)
            await eventually(running.is_set)
            for _ in range(5):  # its turn is given back at once, or the second one would wait for it
                second = call(database, B, lambda _: made.append("cancelled"))
                await asyncio.sleep(0)
                assert database.waiting_calls == 0
                second.cancel()
                await asyncio.wait({second})
        finally:
            held.set()
        await first
        assert await call(database, B, value) == 7
        assert made == []


async def test_close_refuses_calls_without_a_thread_also_beside_a_cancelled_one(
    module_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with database_at(module_database_url, 1) as database:
        running, held = threading.Event(), threading.Event()

        def block(_: Connection) -> None:
            running.set()
            assert held.wait(PATIENCE_SECONDS)

        cancelled = call(database, A, block)
        await eventually(running.is_set)
        refused: list[asyncio.Task[Any]] = [call(database, whose, value) for whose in (A, B, None)]
        await asyncio.sleep(0)
        assert database.waiting_calls == 1  # that of A; the others wait for the thread
        cancelled.cancel()
        closing = asyncio.create_task(asyncio.to_thread(database.close))
        try:
            for each in refused:
                with pytest.raises(DatabaseUnavailableError):
                    await each
        finally:
            held.set()
        await closing
        assert cancelled.cancelled()
        assert caplog.records == []
