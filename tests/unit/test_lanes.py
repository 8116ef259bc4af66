"""A lane gives its threads to companies by turns, and never runs what nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest

from chatserver import lanes
from chatserver.errors import UnavailableError
from chatserver.lanes import Lane
from tests.kit.waiting import PATIENCE_SECONDS, eventually

A, B, C = (uuid4() for _ in range(3))


class Gate:
    """Functions that wait on their threads until they are let go, and note when they began."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._open = threading.Event()

    def function(self, name: str) -> str:
        self.begun.append(name)
        assert self._open.wait(PATIENCE_SECONDS)
        return name

    def let_go(self) -> None:
        self._open.set()


@contextmanager
def lane_of(threads: int) -> Iterator[tuple[Lane, Gate]]:
    lane, gate = Lane("lane", threads), Gate()
    try:
        yield lane, gate
    finally:
        gate.let_go()
        lane.close()


def start(lane: Lane, gate: Gate, company: UUID, name: str) -> asyncio.Task[str]:
    return asyncio.create_task(lane.run(company, lambda: gate.function(name)))


async def test_result_and_error_of_the_function_reach_its_caller() -> None:
    with lane_of(1) as (lane, _):
        assert await lane.run(A, lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await lane.run(A, lambda: 1 // 0)
        assert await lane.run(A, lambda: 8) == 8


async def test_one_company_leaves_a_thread_to_others() -> None:
    with lane_of(3) as (lane, gate):
        calls = [start(lane, gate, A, f"a{number}") for number in range(5)]
        await eventually(lambda: len(gate.begun) == 2)
        calls.append(start(lane, gate, B, "b"))
        await eventually(lambda: len(gate.begun) == 3)
        assert gate.begun == ["a0", "a1", "b"]
        gate.let_go()
        assert await asyncio.gather(*calls) == ["a0", "a1", "a2", "a3", "a4", "b"]


async def test_companies_have_their_turns_in_a_circle() -> None:
    with lane_of(1) as (lane, gate):
        calls = [start(lane, gate, A, f"a{number}") for number in range(4)]
        await eventually(lambda: gate.begun == ["a0"])
        calls += [start(lane, gate, company, name) for company, name in ((B, "b0"), (B, "b1"), (C, "c0"))]
        await asyncio.sleep(0)
        gate.let_go()
        await asyncio.gather(*calls)
        assert gate.begun == ["a0", "a1", "b0", "c0", "a2", "b1", "a3"]


async def test_cancelled_caller_that_waits_is_never_run() -> None:
    with lane_of(1) as (lane, gate):
        first, second, third = (start(lane, gate, A, name) for name in "123")
        await eventually(lambda: gate.begun == ["1"])
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.let_go()
        assert await asyncio.gather(first, third) == ["1", "3"]
        assert gate.begun == ["1", "3"]


async def test_caller_that_is_cancelled_as_its_turn_comes_gives_it_to_the_next() -> None:
    with lane_of(1) as (lane, gate):
        gate.let_go()
        for _ in range(50):
            first, second, third = (start(lane, gate, A, name) for name in "123")
            await first
            second.cancel()  # its turn was given to it at the end of the first
            assert await third == "3"
            await asyncio.wait({second})


async def test_cancelled_caller_is_interrupted_until_its_function_ends() -> None:
    with lane_of(1) as (lane, gate):
        interrupts = 0

        def interrupt() -> None:
            nonlocal interrupts
            interrupts += 1
            if interrupts == 3:
                gate.let_go()

        call = asyncio.create_task(lane.run(A, lambda: gate.function("a"), interrupt=interrupt))
        await eventually(lambda: gate.begun == ["a"])
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await lane.run(B, lambda: interrupts) == 3


async def test_thread_of_a_cancelled_caller_is_not_free_before_its_function_ends() -> None:
    with lane_of(1) as (lane, gate):
        call = start(lane, gate, A, "a")
        await eventually(lambda: gate.begun == ["a"])
        call.cancel()
        later = start(lane, gate, B, "b")
        for _ in range(10):
            await asyncio.sleep(0)
        assert gate.begun == ["a"]
        gate.let_go()
        assert await later == "b"


async def test_call_past_the_bound_of_its_company_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_WAITING_OF_COMPANY", 2)
    with lane_of(1) as (lane, gate):
        calls = [start(lane, gate, A, f"a{number}") for number in range(3)]
        await eventually(lambda: gate.begun == ["a0"])
        with pytest.raises(UnavailableError, match="Too many long requests") as caught:
            await lane.run(A, lambda: 1)
        assert caught.value.retry_after_seconds == lanes.RETRY_AFTER_SECONDS
        calls.append(start(lane, gate, B, "b"))
        await asyncio.sleep(0)
        gate.let_go()
        assert len(await asyncio.gather(*calls)) == 4


async def test_call_past_the_bound_of_all_companies_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_WAITING", 2)
    with lane_of(1) as (lane, gate):
        calls = [start(lane, gate, company, "x") for company in (A, B, C)]
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError):
            await lane.run(uuid4(), lambda: 1)
        gate.let_go()
        await asyncio.gather(*calls)


async def test_call_that_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_WAIT_SECONDS", 0.01)
    with lane_of(1) as (lane, gate):
        first = start(lane, gate, A, "a")
        await eventually(lambda: gate.begun == ["a"])
        with pytest.raises(UnavailableError, match="too long"):
            await lane.run(B, lambda: 1)
        gate.let_go()
        assert await first == "a"
        assert await lane.run(B, lambda: 2) == 2


async def test_close_refuses_waiting_calls_and_interrupts_running_ones() -> None:
    with lane_of(1) as (lane, gate):
        running = asyncio.create_task(lane.run(A, lambda: gate.function("a"), interrupt=gate.let_go))
        waiting = start(lane, gate, B, "b")
        await eventually(lambda: gate.begun == ["a"])
        lane.close()
        lane.close()
        assert await running == "a"
        for refused in (waiting, lane.run(C, lambda: 1)):
            with pytest.raises(UnavailableError, match="stopping"):
                await refused
        assert gate.begun == ["a"]
