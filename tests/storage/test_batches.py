"""Batches: which operations go together, and which result belongs to whom. On real connections and threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from chatserver.errors import DatabaseUnavailableError
from chatserver.metrics import Metrics
from chatserver.storage.postgres.batches import MAX_BATCH, MAX_BATCH_CHARS, MAX_CHARS, Batcher, Batches
from chatserver.storage.postgres.database import Database


@contextmanager
def open_database(url: str, *, pooled: bool = False) -> Iterator[Database]:
    database = Database(url, connections=5, statement_timeout_seconds=10, metrics=Metrics("0"), pooled=pooled)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def database(module_database_url: str) -> Iterator[Database]:
    with open_database(module_database_url) as database:
        yield database


class Halves:
    """Halves numbers in PostgreSQL, and leaves out odd ones. A zero makes the statement fail.

    While `gate` is closed, batches wait on their threads before they begin; `entered` counts those that have come so
    far. `batches` are the items of all that went through.
    """

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, connection: Connection, items: Sequence[int]) -> Sequence[int | None]:
        self.entered.release()
        assert self.gate.wait(30)
        self.batches.append(list(items))
        rows = connection.exec_driver_sql(
            "SELECT n, item / 2 * (item / item) AS half"
            " FROM unnest(%(items)s::int[]) WITH ORDINALITY AS asked (item, n) WHERE mod(item, 2) = 0 "
            " ORDER BY random()",
            {"items": list(items)},
        )
        halves = {row.n: row.half for row in rows}
        return [halves.get(number) for number in range(1, len(items) + 1)]

    async def wait_entered(self) -> None:
        """Return when a further batch waits at the gate."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=30)


async def turn_of_the_loop() -> None:
    """Let everything that has begun queue up."""
    for _ in range(3):
        await asyncio.sleep(0)


def patient(database: Database, function: Any) -> Batcher[Any, int]:
    """A batcher that takes no batch for slow, and no gathering for long, however loaded the machine is."""
    return Batches(database, slow_seconds=600, gather_seconds=600).of(function)


class Op(NamedTuple):
    key: int
    item: int
    turns_before: int


operations = st.lists(
    st.builds(Op, key=st.integers(0, 6), item=st.integers(0, 9), turns_before=st.integers(0, 3)), max_size=40
)


@given(operations)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_operation_gets_its_own_result_or_none(database: Database, ops: list[Op]) -> None:
    halves = Halves()

    async def carry_out() -> list[int | None]:
        batcher = patient(database, halves)
        calls = []
        for op in ops:
            for _ in range(op.turns_before):
                await asyncio.sleep(0)
            calls.append(asyncio.ensure_future(batcher.carry_out(op.key, op.item, 1)))
        return await asyncio.gather(*calls)

    results = asyncio.run(carry_out())
    failed = [item for batch in halves.batches if 0 in batch for item in batch]
    for op, result in zip(ops, results, strict=True):
        if result is None:
            assert op.item % 2 == 1 or op.item in failed, "only what was left out, or what went with a zero"
        else:
            assert result * 2 == op.item
    assert sorted(item for batch in halves.batches for item in batch) == sorted(op.item for op in ops)


async def test_first_operation_goes_at_once_and_those_that_come_meanwhile_go_together(database: Database) -> None:
    halves = Halves()
    batcher = patient(database, halves)
    halves.gate.clear()
    first = asyncio.ensure_future(batcher.carry_out(0, 2, 1))
    await halves.wait_entered()
    others = [asyncio.ensure_future(batcher.carry_out(number, 2 * number, 1)) for number in range(1, 6)]
    await turn_of_the_loop()
    halves.gate.set()
    assert await first == 1
    assert await asyncio.gather(*others) == [1, 2, 3, 4, 5]
    assert halves.batches == [[2], [2, 4, 6, 8, 10]]


async def test_operations_of_one_key_go_one_after_another_in_their_order(database: Database) -> None:
    halves = Halves()
    batcher = patient(database, halves)
    await asyncio.gather(*(batcher.carry_out(key, item, 1) for key, item in ((1, 2), (1, 4), (2, 6), (1, 8))))
    assert halves.batches == [[2, 6], [4], [8]]


async def test_batch_is_bounded_in_operations_and_characters(database: Database) -> None:
    halves = Halves()
    batcher = patient(database, halves)
    await asyncio.gather(*(batcher.carry_out(number, 2, 1) for number in range(MAX_BATCH + 1)))
    assert [len(batch) for batch in halves.batches] == [MAX_BATCH, 1]
    halves.batches.clear()
    long = MAX_BATCH_CHARS // MAX_CHARS
    await asyncio.gather(*(batcher.carry_out(number, 2, MAX_CHARS) for number in range(long + 1)))
    assert [len(batch) for batch in halves.batches] == [long, 1]


async def test_text_that_is_too_long_for_a_batch_is_left_to_its_caller(database: Database) -> None:
    halves = Halves()
    assert await patient(database, halves).carry_out(0, 2, MAX_CHARS + 1) is None
    assert halves.batches == []


async def test_failed_statement_leaves_each_operation_to_its_caller_and_the_next_batch_goes(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    halves = Halves()
    batcher = patient(database, halves)
    assert await asyncio.gather(*(batcher.carry_out(item, item, 1) for item in (2, 0, 4))) == [None, None, None]
    assert "a batch of 3 operations failed" in caplog.text
    assert await batcher.carry_out(0, 4, 1) == 2


async def test_caller_that_leaves_while_it_waits_is_not_carried_out(database: Database) -> None:
    halves = Halves()
    batcher = patient(database, halves)
    halves.gate.clear()
    in_batch = [asyncio.ensure_future(batcher.carry_out(number, 2 + 2 * number, 1)) for number in range(2)]
    await halves.wait_entered()
    waiting = [asyncio.ensure_future(batcher.carry_out(number, 20 + 2 * number, 1)) for number in range(2)]
    await turn_of_the_loop()
    in_batch[0].cancel()
    waiting[0].cancel()
    await turn_of_the_loop()
    halves.gate.set()
    assert (await in_batch[1], await waiting[1]) == (2, 11)
    assert halves.batches == [[2, 4], [22]], "only what had begun goes on without its caller"


async def begin_in_pairs(batcher: Batcher[Any, int], pairs: int) -> list[asyncio.Future[int | None]]:
    """Begin two operations in each turn of the loop."""
    calls = []
    for number in range(pairs):
        calls += [asyncio.ensure_future(batcher.carry_out(2 * number + each, 2, 1)) for each in range(2)]
        await asyncio.sleep(0)
    return calls


async def test_batch_begins_when_a_turn_of_the_loop_brings_no_further_operation(database: Database) -> None:
    halves = Halves()
    await asyncio.gather(*await begin_in_pairs(patient(database, halves), 5))
    assert [len(batch) for batch in halves.batches] == [10]


async def test_batch_does_not_wait_for_long_for_further_operations(database: Database) -> None:
    halves = Halves()
    batcher = Batches(database, slow_seconds=600, gather_seconds=0).of(halves)
    await asyncio.gather(*await begin_in_pairs(batcher, 5))
    assert halves.batches[0] == [2, 2]
    assert sum(map(len, halves.batches)) == 10


async def test_kinds_take_turns_and_one_batch_is_under_way(database: Database) -> None:
    halves = Halves()
    batches = Batches(database, slow_seconds=600)
    # All of them halve; the numbers tell which is which.
    busy, patient_one, other = (batches.of(halves) for _ in range(3))
    halves.gate.clear()
    calls = [asyncio.ensure_future(busy.carry_out(0, 2, 1))]
    await halves.wait_entered()
    for kind, key, item in (
        (busy, 0, 2),
        (busy, 0, 2),
        (other, 1, 4),
        (busy, 0, 2),
        (patient_one, 2, 6),
        (other, 3, 8),
    ):
        calls.append(asyncio.ensure_future(kind.carry_out(key, item, 1)))
        await turn_of_the_loop()
    halves.gate.set()
    assert await asyncio.gather(*calls) == [1, 1, 1, 2, 1, 3, 4]
    assert halves.batches == [[2], [2], [4, 8], [6], [2], [2]]


async def test_slow_batch_holds_back_the_next_one_only_for_a_moment(database: Database) -> None:
    halves = Halves()
    batcher = Batches(database, slow_seconds=0.001).of(halves)
    gate = halves.gate
    gate.clear()
    slow = asyncio.ensure_future(batcher.carry_out(0, 2, 1))
    await halves.wait_entered()
    halves.gate = threading.Event()
    halves.gate.set()
    assert await batcher.carry_out(1, 4, 1) == 2
    assert not slow.done()
    gate.set()
    assert await slow == 1


async def test_batch_whose_connection_is_lost_is_unavailable_for_all_and_the_next_one_goes(database: Database) -> None:
    def lose(connection: Connection, items: Sequence[bool]) -> Sequence[int | None]:
        if any(items):
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return [1] * len(items)

    batcher = patient(database, lose)
    calls = [batcher.carry_out(number, number == 1, 1) for number in range(3)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailableError] * 3
    assert await batcher.carry_out(0, False, 1) == 1


def fails_with(state: str) -> Any:
    """A function for a batcher whose statement fails with an SQLSTATE."""

    def fail(connection: Connection, items: Sequence[int]) -> Sequence[int | None]:
        connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")
        return [1] * len(items)

    return fail


@pytest.mark.parametrize("state", ["40P01", "40001", "55P03", "57014", "54000", "53100", "53200", "23505"])
@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
async def test_statement_that_fails_while_the_database_is_there_leaves_each_operation_to_its_caller(
    module_database_url: str, caplog: pytest.LogCaptureFixture, state: str, pooled: bool
) -> None:
    with open_database(module_database_url, pooled=pooled) as database:
        batcher = patient(database, fails_with(state))
        results = await asyncio.gather(*(batcher.carry_out(number, 0, 1) for number in range(3)))
    assert results == [None, None, None]
    assert f"a batch of 3 operations failed: SQLSTATE {state}" in caplog.text


@pytest.mark.parametrize("state", ["57P01", "57P03", "08006"])
async def test_statement_that_fails_because_the_database_is_away_is_unavailable_for_all(
    database: Database, state: str
) -> None:
    batcher = patient(database, fails_with(state))
    results = await asyncio.gather(*(batcher.carry_out(number, 0, 1) for number in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailableError] * 3


async def test_closed_database_is_unavailable_for_those_that_wait(module_database_url: str) -> None:
    halves = Halves()
    with open_database(module_database_url) as database:
        batcher = patient(database, halves)
        halves.gate.clear()
        first = asyncio.ensure_future(batcher.carry_out(0, 2, 1))
        await halves.wait_entered()
        waiting = asyncio.ensure_future(batcher.carry_out(1, 4, 1))
        await turn_of_the_loop()
        threading.Timer(0.1, halves.gate.set).start()
    results = await asyncio.gather(first, waiting, return_exceptions=True)
    assert results[0] == 1
    assert isinstance(results[1], DatabaseUnavailableError)


async def test_batches_work_behind_a_transaction_pooler(module_database_url: str) -> None:
    with open_database(module_database_url, pooled=True) as database:
        batcher = patient(database, Halves())
        assert await asyncio.gather(*(batcher.carry_out(item, item, 1) for item in (2, 3, 4))) == [1, None, 2]
