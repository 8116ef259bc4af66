"""Much work of one kind leaves others their turns of the loop."""

from __future__ import annotations

import asyncio
import math

import pytest

from chatserver.loop_share import LoopShare
from chatserver.providers.base import Prompt, Turn
from chatserver.providers.echo import EchoProvider
from tests.kit.loop_turns import BusySink, most_per_turn
from tests.kit.virtual_time import in_virtual_time


@pytest.mark.parametrize("tasks", [1, 3])
@in_virtual_time
async def test_no_more_tasks_than_allowed_go_on_in_one_turn(tasks: int) -> None:
    share, done = LoopShare(tasks=tasks), list[int]()

    async def wait(number: int) -> None:
        await share.turn()
        done.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(10)]
    waiting[4].cancel()
    most = await most_per_turn(lambda: len(done), lambda: len(done) == 9)
    assert done == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert most == tasks
    await asyncio.wait(waiting)


@in_virtual_time
async def test_task_goes_on_at_once_while_the_turn_has_room_and_nobody_waits() -> None:
    share = LoopShare(tasks=2)
    assert [share.has_turn() for _ in range(3)] == [True, True, False]
    await asyncio.sleep(0)
    assert share.has_turn()
    turn = share.turn()
    assert not share.has_turn()
    await turn
    assert share.has_turn()


@in_virtual_time
async def test_many_answers_without_a_pace_leave_others_their_turns() -> None:
    share = LoopShare()
    # Two providers: the share is that of all answers.
    echoes, sinks = [EchoProvider(0, share), EchoProvider(0, share)], [BusySink() for _ in range(20)]
    prompt = Prompt((Turn("user", "x " * 100),))
    answers = [asyncio.create_task(echoes[number % 2].generate(prompt, sink)) for number, sink in enumerate(sinks)]
    all_done = asyncio.gather(*answers)
    most = await most_per_turn(lambda: sum(sink.pushes for sink in sinks), all_done.done)
    assert most <= 2
    # The prefix has 6 pieces, the text 200; 64 are pushed at once.
    assert {sink.pushes for sink in sinks} == {math.ceil((6 + 200) / 64)}
