"""Heavy calls have threads of their own, and their statements end when their callers leave."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from chatserver.errors import DatabaseUnavailableError, UnavailableError
from chatserver.metrics import Metrics
from chatserver.storage.postgres.database import Database
from tests.kit.waiting import eventually

A, B = uuid4(), uuid4()


@asynccontextmanager
async def database_at(url: str, connections: int = 4, *, pooled: bool = False) -> AsyncIterator[Database]:
    database = Database(url, connections=connections, statement_timeout_seconds=60, metrics=Metrics("0"), pooled=pooled)
    try:
        yield database
    finally:
        await asyncio.to_thread(database.close)


def sleep(connection: Connection, seconds: float = 50) -> None:
    connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})


def sleep_often(connection: Connection) -> None:
    for _ in range(10_000):
        sleep(connection, 0.01)


def value(connection: Connection) -> int:
    return int(connection.execute(text("SELECT 7")).scalar_one())


def sleeping(connection: Connection) -> int:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '[p]g_sleep'"
    return int(connection.execute(text(f"{statement} AND state <> 'idle'")).scalar_one())


async def is_sleeping(database: Database, number: int) -> bool:
    return await database.autocommit(sleeping) == number


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("method", ["autocommit", "transaction"])
@pytest.mark.parametrize("slow", [sleep, sleep_often])
async def test_statement_of_a_cancelled_caller_ends(
    module_database_url: str, caplog: pytest.LogCaptureFixture, method: str, slow: Any, pooled: bool
) -> None:
    async with database_at(module_database_url, pooled=pooled) as database:
        call = asyncio.create_task(getattr(database.heavy(A), method)(slow))
        await eventually(lambda: is_sleeping(database, 1))
        with caplog.at_level(logging.INFO):
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await eventually(lambda: is_sleeping(database, 0))
            for _ in range(20):  # the next statements on that connection are not cancelled
                assert await database.heavy(A).transaction(value) == 7
        assert caplog.records == []


@pytest.mark.parametrize("method", ["autocommit", "transaction"])
async def test_statement_that_takes_too_long_is_no_loss_of_the_database(module_database_url: str, method: str) -> None:
    metrics = Metrics("0")
    database = Database(module_database_url, connections=2, statement_timeout_seconds=0.1, metrics=metrics)
    with pytest.raises(UnavailableError, match="takes too long") as caught:
        await getattr(database.heavy(A), method)(sleep)
    assert not isinstance(caught.value, DatabaseUnavailableError)
    assert metrics.database_errors._value.get() == 0
    assert await database.heavy(A).autocommit(value) == 7
    database.close()


async def test_waiting_call_of_a_cancelled_caller_is_never_made(module_database_url: str) -> None:
    async with database_at(module_database_url, 1) as database:
        made: list[str] = []
        first = asyncio.create_task(database.heavy(A).autocommit(sleep))
        second = asyncio.create_task(database.heavy(A).autocommit(lambda _: made.append("second")))
        await eventually(lambda: is_sleeping(database, 1))
        second.cancel()
        first.cancel()
        await asyncio.wait({first, second})
        assert await database.heavy(B).autocommit(value) == 7
        assert made == []


@pytest.mark.parametrize("connections", [1, 2, 8])
async def test_other_calls_do_not_wait_for_heavy_ones(module_database_url: str, connections: int) -> None:
    async with database_at(module_database_url, connections) as database:
        calls = [asyncio.create_task(database.heavy(uuid4()).autocommit(sleep)) for _ in range(connections + 1)]
        await asyncio.sleep(0)
        for _ in range(20):
            assert await database.transaction(value) == 7
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)


async def test_database_without_heavy_connections_has_all_of_them_for_other_calls(module_database_url: str) -> None:
    database = Database(module_database_url, connections=3, heavy=0, statement_timeout_seconds=60, metrics=Metrics("0"))
    met = threading.Barrier(3)
    try:
        await asyncio.gather(*(database.autocommit(lambda _: met.wait(30)) for _ in range(3)))
    finally:
        database.close()


async def test_close_ends_running_statements(module_database_url: str) -> None:
    async with database_at(module_database_url) as database:
        call = asyncio.create_task(database.heavy(A).autocommit(sleep))
        await eventually(lambda: is_sleeping(database, 1))
    with pytest.raises(UnavailableError):  # what becomes 503, not 500
        await call


async def test_heavy_transaction_sees_one_snapshot(module_database_url: str) -> None:
    async with database_at(module_database_url) as database:
        loop = asyncio.get_running_loop()

        def count_twice(connection: Connection) -> list[int]:
            counts = []
            for _ in range(2):
                counts.append(int(connection.execute(text("SELECT count(*) FROM chat_sent_keys_seen")).scalar_one()))
                insert = database.autocommit(_insert)
                asyncio.run_coroutine_threadsafe(insert, loop).result()
            return counts

        def _insert(connection: Connection) -> None:
            connection.execute(text("INSERT INTO chat_sent_keys_seen VALUES (1)"))

        await database.autocommit(
            lambda connection: connection.execute(text("CREATE TABLE chat_sent_keys_seen (a int)"))
        )
        assert await database.heavy(A).transaction(count_twice) == [0, 0]
