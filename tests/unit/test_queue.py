"""The queue of a conversation: the order of its runs, whose turn it is, and the bound of all queues together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

import pytest

from chatserver.live.outcomes import Place, RunKey
from chatserver.live.queue import ConversationQueue, Queues
from tests.kit.virtual_time import in_virtual_time, now, quiet

CONVERSATION, OTHER = UUID(int=2), UUID(int=3)


@dataclass(eq=False)
class Run:
    """A run, as far as a queue looks at it."""

    number: int
    conversation: UUID = CONVERSATION
    owned: bool = False
    place: Place | None = None

    @property
    def key(self) -> RunKey:
        return RunKey(UUID(int=1), self.conversation, UUID(int=100 + self.number))


def numbers(queue: ConversationQueue[Run]) -> list[int]:
    return [run.number for run in queue.runs]


# --- order ------------------------------------------------------------------------------------------------


def test_runs_are_in_the_order_in_which_they_were_added() -> None:
    queue: ConversationQueue[Run] = ConversationQueue()
    for number in range(3):
        queue.add(Run(number))
    assert numbers(queue) == [0, 1, 2]


def test_run_with_a_place_stands_before_later_places_and_behind_runs_that_do_not_wait() -> None:
    queue: ConversationQueue[Run] = ConversationQueue()
    queue.add(Run(0))
    for number in (5, 3, 4, 5):
        queue.add(Run(number, place=Place(UUID(int=number), number)))
    assert numbers(queue) == [0, 3, 4, 5, 5]
    queue.add(Run(-1, place=Place(UUID(int=9), -1)))
    queue.add(Run(8))
    assert numbers(queue) == [0, -1, 3, 4, 5, 5, 8]


def test_find_gives_the_run_of_a_key_and_owned_the_run_that_is_generated_here() -> None:
    queue: ConversationQueue[Run] = ConversationQueue()
    first, second = Run(1), Run(2)
    queue.add(first)
    queue.add(second)
    assert (queue.find(second.key), queue.find(Run(3).key), queue.owned) == (second, None, None)
    first.owned = True
    assert queue.owned is first


# --- turns ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_removing_the_first_run_gives_the_turn_to_the_next_only() -> None:
    queue: ConversationQueue[Run] = ConversationQueue()
    runs = [Run(number) for number in range(3)]
    for run in runs:
        queue.add(run)
    await queue.wait_for_turn(runs[0])
    second, third = (asyncio.create_task(queue.wait_for_turn(run)) for run in runs[1:])
    await quiet()
    queue.remove(runs[0])
    await quiet()
    assert (second.done(), third.done()) == (True, False)
    queue.remove(runs[1])
    await third


@in_virtual_time
async def test_cancelled_wait_for_a_turn_leaves_the_turn_to_others() -> None:
    queue: ConversationQueue[Run] = ConversationQueue()
    runs = [Run(number) for number in range(3)]
    for run in runs:
        queue.add(run)
    second, third = (asyncio.create_task(queue.wait_for_turn(run)) for run in runs[1:])
    await quiet()
    second.cancel()
    await quiet()
    queue.remove(runs[1])
    queue.remove(runs[0])
    await third


# --- all queues -------------------------------------------------------------------------------------------


@in_virtual_time
async def test_lock_of_a_conversation_is_one_and_serves_in_order() -> None:
    queues: Queues[Run] = Queues(max_runs=1)
    order: list[int] = []

    async def enter(number: int) -> None:
        async with queues.of(CONVERSATION).locked():
            order.append(number)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(enter(number))
    assert (order, now()) == ([0, 1, 2], pytest.approx(3))


def test_queues_iterate_over_the_runs_that_there_are_now() -> None:
    queues: Queues[Run] = Queues(max_runs=9)
    for run in (Run(0), Run(5, OTHER), Run(1)):
        queues.add(run)
    queues.add(Run(7))
    seen = []
    for run in queues:
        seen.append(run.number)
        queues.remove(run)
        queues.add(Run(8, OTHER))
    assert sorted(seen) == [0, 1, 5, 7]


def test_queue_lives_as_long_as_it_holds_a_run() -> None:
    queues: Queues[Run] = Queues(max_runs=9)
    run = Run(0)
    queues.add(run)
    assert numbers(queues.of(CONVERSATION)) == [0]
    queues.remove(run)
    assert (len(queues), numbers(queues.of(CONVERSATION))) == (0, [])


def test_reserved_room_counts_as_taken_until_it_is_given_back() -> None:
    queues: Queues[Run] = Queues(max_runs=2)
    queues.add(Run(0))
    with queues.reserve() as first_has_room:
        assert (first_has_room, queues.full) == (True, True)
        with queues.reserve() as second_has_room:
            assert not second_has_room
    assert not queues.full
    queues.add(Run(1))
    with queues.reserve() as has_room:
        assert not has_room
