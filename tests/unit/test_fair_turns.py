"""Short calls of the database: whoever asks for much waits for their own calls, and nobody for theirs."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from chatserver.errors import DatabaseUnavailableError
from chatserver.fair_turns import FairTurns
from chatserver.origin import Share

A, B, C = uuid4(), uuid4(), "somebody of several companies"


class Calls:
    """Calls that end when a test says so."""

    def __init__(self, turns: FairTurns) -> None:
        self.begun: list[str] = []
        self._turns = turns
        self._ends: dict[str, asyncio.Event] = {}

    def start(self, share: Share | None, name: str) -> asyncio.Task[None]:
        self._ends[name] = asyncio.Event()
        return asyncio.create_task(self._call(share, name))

    async def _call(self, share: Share | None, name: str) -> None:
        line = self._turns.line(share)
        if not self._turns.take(line):
            turn = self._turns.queue(line)
            try:
                await turn
            except asyncio.CancelledError:
                self._turns.withdraw(turn, line)
                raise
        self.begun.append(name)
        await self._ends[name].wait()
        self._turns.leave(line)

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def turns() -> FairTurns:
    """On three threads; six calls may be under way or in the threads' own queue."""
    return FairTurns(3, max_waiting=8)


async def test_a_share_leaves_a_thread_to_others_and_those_who_wait_have_turns_in_a_circle(turns: FairTurns) -> None:
    calls = Calls(turns)
    tasks = [calls.start(A, f"a{at}") for at in range(5)]
    await settle()
    assert calls.begun == ["a0", "a1"]
    tasks += [calls.start(share, name) for share, name in ((B, "b0"), (B, "b1"), (C, "c0"), (C, "c1"), (B, "b2"))]
    await settle()
    assert calls.begun == ["a0", "a1", "b0", "b1", "c0", "c1"]
    await calls.end("c0", "c1")
    assert calls.begun[6:] == [], "all others have their share already"
    tasks += [calls.start(C, name) for name in ("c2", "c3", "c4")]
    await settle()
    assert calls.begun[6:] == ["c2", "c3"]
    await calls.end("a0", "b0", "c2", "a1")
    assert calls.begun[8:] == ["a2", "b2", "c4", "a3"]
    await calls.end("b1", "b2", "c3", "c4", "a2", "a3", "a4")
    await asyncio.gather(*tasks)
    assert calls.begun[12:] == ["a4"]


async def test_what_is_nobodys_does_not_wait_where_there_are_no_shares_but_is_bounded() -> None:
    turns = FairTurns(3, max_waiting=18)
    calls = Calls(turns)
    tasks = [calls.start(None, f"n{at}") for at in range(9)]
    await settle()
    assert len(calls.begun) == 9
    assert turns.waiting == 0
    with pytest.raises(DatabaseUnavailableError, match="overloaded"):
        await calls.start(None, "n9")
    await calls.end("n0")
    tasks.append(calls.start(None, "n10"))
    await settle()
    assert calls.begun[9:] == ["n10"]
    await calls.end(*calls.begun)
    await asyncio.gather(*tasks)


async def test_shares_and_what_is_nobodys_do_not_wait_for_each_other() -> None:
    turns = FairTurns(3, max_waiting=24)
    calls = Calls(turns)
    tasks = [calls.start(None, f"n{at}") for at in range(8)]
    await settle()
    tasks += [calls.start(share, f"{name}{at}") for share, name in ((A, "a"), (B, "b"), (C, "c")) for at in range(3)]
    await settle()
    assert calls.begun[8:] == ["a0", "a1", "b0", "b1", "c0", "c1"], "they do not wait for those eight"
    tasks += [calls.start(None, f"n{at}") for at in range(8, 12)]
    await settle()
    with pytest.raises(DatabaseUnavailableError, match="overloaded"):
        await calls.start(None, "n12")
    assert turns.waiting == 3 + 4
    await calls.end(*(f"n{at}" for at in range(6)))
    assert len(calls.begun) == 14, "once there are shares, one thread is left to them"
    tasks[-3].cancel()  # n9
    await calls.end("n6", "n7")
    assert calls.begun[14:] == ["n8", "n10"], "they do not wait for those six"
    await calls.end("a0", "b0", "c0")
    assert calls.begun[16:] == ["a2", "b2", "c2"]
    await calls.end(*calls.begun)
    assert calls.begun[19:] == ["n11"]
    await calls.end("n11")
    assert (await asyncio.gather(*tasks, return_exceptions=True)).count(None) == len(tasks) - 1
    assert turns.waiting == 0


async def test_one_share_takes_half_of_the_places_and_a_newcomer_has_one(turns: FairTurns) -> None:
    calls = Calls(turns)
    for at in range(2 + 4):  # two run, four wait
        calls.start(A, f"a{at}")
    await settle()
    with pytest.raises(DatabaseUnavailableError, match="overloaded"):
        await calls.start(A, "a6")
    for at in range(2 + 2):
        calls.start(B, f"b{at}")
    await settle()
    with pytest.raises(DatabaseUnavailableError, match="overloaded"):
        await calls.start(B, "b4")
    for at in range(2 + 1):
        calls.start(C, f"c{at}")
    await settle()
    with pytest.raises(DatabaseUnavailableError, match="overloaded"):
        await calls.start(C, "c3")
    turns.stop()
    await settle()
    assert len(calls.begun) == 6
    await calls.end(*calls.begun)


async def test_who_leaves_takes_no_turn(turns: FairTurns) -> None:
    calls = Calls(turns)
    tasks = [calls.start(A, f"a{at}") for at in range(5)]
    await settle()
    tasks[2].cancel()
    calls._ends["a0"].set()
    await asyncio.sleep(0)  # the turn is given to a3; it leaves in the same moment
    tasks[3].cancel()
    await settle()
    assert calls.begun == ["a0", "a1", "a4"]
    await calls.end("a1", "a4")
    assert [turns.take(turns.line(A)) for _ in range(3)] == [True, True, False]


async def test_those_that_wait_are_refused_at_the_end(turns: FairTurns) -> None:
    calls = Calls(turns)
    tasks = [calls.start(share, f"{name}{at}") for share, name in ((A, "a"), (None, "n")) for at in range(4)]
    await settle()
    assert calls.begun == ["a0", "a1", "n0", "n1"]
    turns.stop()
    assert turns.waiting == 0
    for task in (*tasks[2:4], *tasks[6:]):
        with pytest.raises(DatabaseUnavailableError):
            await task
    await calls.end("a0", "a1", "n0", "n1")
