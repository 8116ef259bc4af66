"""A step that is interrupted from outside, or from within, has ended before the run goes on, and nothing else has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chatserver.live.interruption import Interruption
from chatserver.live.steps import Interrupt, Interrupted, Over, Step
from tests.kit.virtual_time import in_virtual_time, quiet

OVER = Over("done")
Work = Callable[[Interruption], Coroutine[Any, Any, Step]]


async def take(interruption: Interruption, work: Coroutine[Any, Any, Step]) -> Step:
    """Take a step, and then something that no interruption may end."""
    step = await interruption.interruptible(work)
    for _ in range(3):
        await asyncio.sleep(1)
    return step


async def endless(_: Interruption) -> Step:
    await asyncio.sleep(3_600)
    return OVER


async def that_swallows_it(_: Interruption) -> Step:
    try:
        await asyncio.sleep(3_600)
    except asyncio.CancelledError:
        await asyncio.sleep(1)
    return OVER


async def that_fails_to_close(_: Interruption) -> Step:
    try:
        await asyncio.sleep(3_600)
    finally:
        raise RuntimeError("cannot close")


async def that_asks_for_it(interruption: Interruption) -> Step:
    interruption.request(Interrupt.KEEP)
    return OVER


async def that_asks_for_it_and_fails(interruption: Interruption) -> Step:
    interruption.request(Interrupt.KEEP)
    raise RuntimeError("a defect")


async def that_asks_for_it_and_goes_on(interruption: Interruption) -> Step:
    interruption.request(Interrupt.KEEP)
    await asyncio.sleep(3_600)
    raise AssertionError("it was interrupted")


@pytest.mark.parametrize(
    "work",
    [
        endless,
        that_swallows_it,
        that_fails_to_close,
        that_asks_for_it,
        that_asks_for_it_and_fails,
        that_asks_for_it_and_goes_on,
    ],
)
@in_virtual_time
async def test_interruption_ends_the_step_and_nothing_else(work: Work) -> None:
    interruption = Interruption()
    task = asyncio.create_task(take(interruption, work(interruption)))
    await quiet()
    interruption.request(Interrupt.KEEP)
    interruption.request(Interrupt.DISCARD)
    assert await task == Interrupted(Interrupt.KEEP)
    assert task.cancelling() == 0


@in_virtual_time
async def test_interruption_in_the_turn_in_which_the_step_ends_ends_nothing_else() -> None:
    interruption = Interruption()
    ready = asyncio.get_running_loop().create_future()

    async def work() -> Step:
        await ready
        return OVER

    task = asyncio.create_task(take(interruption, work()))
    await quiet()
    ready.set_result(None)
    interruption.request(Interrupt.DROP)
    assert await task == Interrupted(Interrupt.DROP)


@in_virtual_time
async def test_step_does_not_begin_after_an_interruption() -> None:
    interruption = Interruption()
    interruption.request(Interrupt.DROP)
    assert await interruption.interruptible(endless(interruption)) == Interrupted(Interrupt.DROP)
    interruption.clear()
    assert await interruption.interruptible(asyncio.sleep(0, OVER)) == OVER


@in_virtual_time
async def test_step_without_an_interruption_raises_what_it_raises() -> None:
    async def work() -> Step:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError):
        await Interruption().interruptible(work())


@pytest.mark.parametrize("interrupted", [False, True])
@in_virtual_time
async def test_run_that_is_cancelled_ends_even_if_it_is_interrupted(interrupted: bool) -> None:
    interruption = Interruption()
    task = asyncio.create_task(take(interruption, endless(interruption)))
    await quiet()
    if interrupted:
        interruption.request(Interrupt.DROP)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
