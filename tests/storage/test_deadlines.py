"""No call of the database takes longer than it may, and no thread is lost to a server that answers nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from chatserver import one_at_a_time
from chatserver.errors import DatabaseUnavailableError
from chatserver.live import store
from chatserver.metrics import Metrics
from chatserver.services.access import Actor
from chatserver.services.audit import AuditLog
from chatserver.services.health import AWAY_FAILURES, DatabaseHealth
from chatserver.services.owners import Owners
from chatserver.storage.postgres import batches, deadlines
from chatserver.storage.postgres.batches import Batches
from chatserver.storage.postgres.database import Database
from tests.kit.waiting import eventually

# Longer than anything here takes that is not bounded by what is tested.
PATIENCE_SECONDS = 20.0


class Frozen:
    """Backends of PostgreSQL that answer nothing."""

    def __init__(self) -> None:
        self.backends: list[int] = []

    def freeze(self, connection: Connection) -> None:
        """Freeze the connection's own backend, and ask it something."""
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        os.kill(backend, signal.SIGSTOP)
        self.backends.append(backend)
        connection.execute(text("SELECT 1"))

    def thaw(self) -> None:
        for backend in self.backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(backend, signal.SIGCONT)


@pytest.fixture
def frozen() -> Iterator[Frozen]:
    made = Frozen()
    yield made
    made.thaw()


@contextmanager
def database(url: str, **options: Any) -> Iterator[Database]:
    given = {"connections": 2, "heavy": 1, "statement_timeout_seconds": 10, "metrics": Metrics("0"), **options}
    made = Database(url, **given)
    try:
        yield made
    finally:
        made.close()


def ping(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def sleep(connection: Connection, seconds: float) -> None:
    connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})


@pytest.mark.parametrize("how", ["autocommit", "transaction", "heavy"])
async def test_call_of_a_server_that_answers_nothing_ends_and_others_get_another_connection(
    module_database_url: str, frozen: Frozen, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatserver.storage.postgres.database.HEAVY_STATEMENTS", 0)
    monkeypatch.setattr("chatserver.storage.postgres.database.BEYOND_STATEMENT_SECONDS", 0.3)
    with database(module_database_url, call_seconds=0.3) as one:
        of_company = one.heavy(uuid4())
        call: Any = {
            "autocommit": one.autocommit,
            "transaction": one.transaction,
            "heavy": of_company.autocommit,
        }[how]
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(2):
                with pytest.raises(DatabaseUnavailableError):
                    await call(frozen.freeze)
            assert await call(ping) not in frozen.backends
    assert len(frozen.backends) == 2


async def test_call_that_finds_no_thread_is_refused_and_never_begun(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "QUEUE_SECONDS", 0.3)
    begun: list[int] = []
    with database(module_database_url, heavy=0, connections=1) as one:
        long = asyncio.create_task(one.autocommit(sleep, 3))
        waiting = [asyncio.create_task(one.autocommit(lambda _, at=at: begun.append(at))) for at in range(20)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, DatabaseUnavailableError) for result in results)
        assert all(
            result.retry_after_seconds >= 1 for result in results if isinstance(result, DatabaseUnavailableError)
        )
        assert not long.done()
        await long
        assert await one.autocommit(ping)
    assert begun == []


async def test_call_whose_caller_left_frees_its_thread_all_the_same(module_database_url: str, frozen: Frozen) -> None:
    with database(module_database_url, heavy=0, connections=1, call_seconds=0.5) as one:
        left = asyncio.create_task(one.autocommit(frozen.freeze))
        await eventually(lambda: bool(frozen.backends))
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left

        async def served() -> bool:
            with contextlib.suppress(DatabaseUnavailableError):
                return await one.autocommit(ping) not in frozen.backends
            return False

        await eventually(served)


async def test_heavy_call_whose_caller_left_frees_its_thread_though_a_cancel_does_nothing(
    module_database_url: str, frozen: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatserver.storage.postgres.database.HEAVY_STATEMENTS", 0)
    monkeypatch.setattr("chatserver.storage.postgres.database.BEYOND_STATEMENT_SECONDS", 0.3)
    with database(module_database_url) as one:
        calls = one.heavy(uuid4())
        left = asyncio.create_task(calls.autocommit(frozen.freeze))
        await eventually(lambda: bool(frozen.backends))
        left.cancel()
        await asyncio.wait({left})
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await calls.autocommit(ping) not in frozen.backends


async def test_reads_that_wait_for_one_entry_of_the_audit_log_fail_with_it(
    module_database_url: str, frozen: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each for itself would wait for as long again, one after the other."""
    monkeypatch.setattr(one_at_a_time, "LONG_SECONDS", 0.2)
    monkeypatch.setattr("chatserver.storage.audit.record", lambda connection, *_, **__: frozen.freeze(connection))
    with database(module_database_url, call_seconds=0.4) as one:
        log = AuditLog(one, Owners(one, uuid4()), Metrics("0"))
        company = uuid4()
        reads = [log.administrator_reads(Actor("ann", None), "companies", company) for _ in range(20)]
        results = await asyncio.gather(*reads, return_exceptions=True)
    assert all(isinstance(result, DatabaseUnavailableError) for result in results)
    assert len(frozen.backends) == 1


async def test_calls_that_hang_are_given_up_when_the_database_is_back(module_database_url: str, frozen: Frozen) -> None:
    with (
        database(module_database_url, heavy=1, connections=3) as one,
        database(module_database_url, heavy=0, connections=1, call_seconds=0.3) as probe,
    ):
        health = DatabaseHealth(probe, [one])
        heavy = one.heavy(uuid4()).autocommit
        await health.require()
        hanging = [asyncio.create_task(call(frozen.freeze)) for call in (one.autocommit, one.autocommit, heavy)]
        await eventually(lambda: len(frozen.backends) == 3)
        await health.require()
        assert not any(call.done() for call in hanging)
        for failures in (1, AWAY_FAILURES):
            for _ in range(failures):
                frozen.backends.append(backend := await probe.autocommit(ping))
                os.kill(backend, signal.SIGSTOP)
                with pytest.raises(DatabaseUnavailableError):
                    await health.require()
            await asyncio.sleep(1.1)  # they have to hang for HANGING_SECONDS
            assert not any(call.done() for call in hanging)
            await health.require()
        async with asyncio.timeout(PATIENCE_SECONDS):
            results = await asyncio.gather(*hanging, return_exceptions=True)
        assert all(isinstance(result, DatabaseUnavailableError) for result in results)
        for call in (one.autocommit, heavy):
            assert await call(ping) not in frozen.backends


async def test_readiness_is_told_in_time_while_the_database_hangs(module_database_url: str, frozen: Frozen) -> None:
    with database(module_database_url, heavy=0, connections=1, call_seconds=0.3) as probe:
        health = DatabaseHealth(probe, [])
        await health.require()
        frozen.backends.append(backend := await probe.autocommit(ping))
        os.kill(backend, signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(DatabaseUnavailableError):
                await health.require()
            await health.require()  # on another connection


async def test_operation_that_waits_behind_batches_that_hang_is_refused(
    module_database_url: str, frozen: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "QUEUE_SECONDS", 0.3)
    with database(module_database_url, heavy=0, connections=batches.MAX_UNDER_WAY, call_seconds=2) as one:
        hangs = True

        def carry_out(connection: Connection, items: Sequence[str]) -> list[str]:
            if hangs:
                frozen.freeze(connection)
            return list(items)

        batcher = Batches(one).of(carry_out)
        operations = [
            asyncio.create_task(batcher.carry_out("the same", str(at), 1)) for at in range(batches.MAX_UNDER_WAY + 2)
        ]
        results = await asyncio.gather(*operations, return_exceptions=True)
        assert all(isinstance(result, DatabaseUnavailableError) for result in results), results
        assert len(frozen.backends) == batches.MAX_UNDER_WAY
        hangs = False
        assert await batcher.carry_out("the same", "next", 1) == "next"


async def test_write_that_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PERSIST_SECONDS", 0.2)
    tries = 0

    async def write() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise DatabaseUnavailableError
        await asyncio.Event().wait()

    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(DatabaseUnavailableError):
            await store.persist(write)
    assert tries == 2
