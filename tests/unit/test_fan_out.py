"""Every reader is told of every frame, and thousands of readers do not hold up the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chatserver import logs
from chatserver.live.fan_out import READERS_PER_TURN, FanOut
from tests.kit.virtual_time import in_virtual_time, quiet

MANY = 3 * READERS_PER_TURN + 1


class Told:
    """Readers of a number that grows; each remembers what it has seen."""

    def __init__(self, readers: int) -> None:
        self.fan_out = FanOut()
        self.frames = 0
        self.seen: list[list[int]] = [[] for _ in range(readers)]
        self.wakers: list[Callable[[], None]] = [self._waker(seen) for seen in self.seen]
        for waker in self.wakers:
            self.fan_out.add(waker)

    def _waker(self, seen: list[int]) -> Callable[[], None]:
        return lambda: seen.append(self.frames)

    def append(self) -> None:
        self.frames += 1
        self.fan_out.tell()

    @property
    def up_to_date(self) -> int:
        return sum(1 for seen in self.seen if seen and seen[-1] == self.frames)


@pytest.mark.parametrize("readers", [0, 1, READERS_PER_TURN])
def test_few_readers_are_told_at_once(readers: int) -> None:
    told = Told(readers)
    told.append()
    told.append()
    assert told.seen == [[1, 2]] * readers


@in_virtual_time
async def test_many_readers_are_told_in_slices() -> None:
    told = Told(MANY)
    told.append()
    assert told.up_to_date == READERS_PER_TURN
    await asyncio.sleep(0)
    assert told.up_to_date == 2 * READERS_PER_TURN
    await quiet()
    assert told.seen == [[1]] * MANY


@in_virtual_time
async def test_frames_gather_while_a_round_goes_on() -> None:
    told = Told(MANY)
    for _ in range(10):
        told.append()
    await quiet()
    assert told.up_to_date == MANY
    assert all(len(seen) == 2 for seen in told.seen), "one round for the first frame, and one for all the others"
    told.append()
    assert told.up_to_date == READERS_PER_TURN


@in_virtual_time
async def test_reader_that_leaves_during_a_round_is_not_called() -> None:
    told = Told(MANY)
    told.append()
    told.fan_out.remove(told.wakers[-1])
    told.fan_out.remove(told.wakers[-1])
    told.fan_out.remove(told.wakers[0])
    await quiet()
    assert told.seen[-1] == []
    assert told.up_to_date == MANY - 1
    told.append()
    await quiet()
    assert told.up_to_date == MANY - 2


@pytest.mark.parametrize("readers", [READERS_PER_TURN, MANY])
def test_reader_that_fails_does_not_keep_the_others_from_being_told(
    readers: int, caplog: pytest.LogCaptureFixture
) -> None:
    @in_virtual_time
    async def tell_twice() -> None:
        told = Told(readers - 1)
        told.wakers.append(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        for waker in told.wakers:
            told.fan_out.remove(waker)
        for waker in reversed(told.wakers):
            told.fan_out.add(waker)
        for _ in range(2):
            told.append()
            await quiet()
            assert told.up_to_date == readers - 1

    tell_twice()
    assert [record.message for record in caplog.records] == ["a reader could not be told"] * 2
    caplog.clear()


@in_virtual_time
async def test_readers_told_in_later_turns_are_not_told_for_the_first_request() -> None:
    fan_out, ids = FanOut(), []
    wakers = [lambda: ids.append(logs.request_id.get()) for _ in range(MANY)]
    for waker in wakers:
        fan_out.add(waker)
    logs.request_id.set("first")
    fan_out.tell()
    await quiet()
    assert ids[READERS_PER_TURN:] == [None] * (MANY - READERS_PER_TURN)


@in_virtual_time
async def test_reader_that_comes_during_a_round_is_told_of_the_next_frame() -> None:
    told = Told(MANY)
    told.append()
    late: list[int] = []
    told.fan_out.add(lambda: late.append(told.frames))
    told.append()
    await quiet()
    assert late == [2]
