"""One suite for the queue of every `live.store.AnswerStore`: first come, first served over all processes."""

from __future__ import annotations

from typing import Any

import pytest

from chatserver.errors import ConflictError, ForbiddenError
from chatserver.ids import uuid7
from chatserver.live.outcomes import (
    NOBODY,
    Busy,
    Claimed,
    ClaimOutcome,
    Elsewhere,
    Place,
    RunKey,
    Waiting,
    YieldState,
)
from chatserver.live.store import AnswerStore, NewMessage
from tests.kit.memory_store import ANYBODY
from tests.storage.answer_stores import StoresUnderTest


def another(stores: StoresUnderTest, key: RunKey) -> RunKey:
    """The answer to a further question of the same conversation."""
    return stores.key(key.conversation_id, stores.say(key.conversation_id, "And?"))


async def place_of(stores: StoresUnderTest, store: AnswerStore, key: RunKey, **asked: Any) -> Place:
    """The place that a client gets who asks for an answer."""
    opened = await store.open(stores.request(key, **asked))
    assert isinstance(opened.outcome, Waiting), opened
    assert opened.key == key
    return opened.outcome.place


async def turn(store: AnswerStore, key: RunKey, place: Place, *, may_begin: bool = True) -> ClaimOutcome:
    """What comes of a look whether it is the answer's turn."""
    return await store.claim(key, place.id, place=place, may_begin=may_begin)


async def test_answers_of_all_processes_have_their_turns_in_the_order_in_which_they_came(
    stores: StoresUnderTest, key: RunKey
) -> None:
    run = await stores.claimed(key)
    waiting = []
    for store in (stores.there, stores.here, stores.there, stores.here):
        asked = another(stores, key)
        waiting.append((store, asked, await place_of(stores, store, asked)))
    numbers = [place.number for *_, place in waiting]
    assert numbers == sorted(set(numbers))
    while waiting:
        for store, asked, place in waiting:
            assert await turn(store, asked, place) == Waiting(place)
        await stores.here.end(run.run_id, run.epoch, "stopped")
        await stores.there.end(run.run_id, run.epoch, "stopped")
        # The first of each process asks, as its own queue has it.
        store, asked, place = waiting.pop(0)
        for other, other_asked, other_place in waiting:
            if other is not store:
                assert await turn(other, other_asked, other_place) == Waiting(other_place)
        newcomer = another(stores, key)
        if waiting:
            for when_busy in ("reject", "enqueue"):
                request = stores.request(newcomer, when_busy=when_busy, wanted_here=True, here=[asked.trigger_id])
                if when_busy == "reject":
                    with pytest.raises(ConflictError):
                        await store.open(request)
                else:
                    last = (await store.open(request)).outcome
                    assert isinstance(last, Waiting)
                    assert last.place.number > waiting[-1][2].number
                    await store.leave(last.place)
        claimed = await turn(store, asked, place)
        assert isinstance(claimed, Claimed)
        run = claimed


async def test_newcomer_is_refused_or_waits_where_another_process_waits(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    waiting, newcomer = another(stores, key), another(stores, key)
    place = await place_of(stores, stores.there, waiting)
    await stores.here.end(run.run_id, run.epoch, "stopped")
    for asked in ({}, {"message": NewMessage("Me")}):
        with pytest.raises(ConflictError):
            await stores.here.open(stores.request(newcomer, when_busy="reject", **asked))
    assert "Me" not in stores.contents(key.conversation_id)
    later = await place_of(stores, stores.here, newcomer)
    assert later.number > place.number
    # Who leaves loses the place.
    await stores.there.leave(place)
    again = await place_of(stores, stores.there, waiting, when_busy="enqueue")
    assert again.number > later.number
    assert isinstance(await turn(stores.here, newcomer, later), Claimed)


async def test_places_of_a_process_that_died_expire_unless_they_are_renewed(
    stores: StoresUnderTest, key: RunKey
) -> None:
    run = await stores.claimed(key)
    first, second = another(stores, key), another(stores, key)
    places = {await place_of(stores, stores.there, first): first}
    (place,) = places
    later = await place_of(stores, stores.here, second)
    await stores.here.end(run.run_id, run.epoch, "stopped")
    stores.expire_place(place)
    renewed = await stores.there.renew_places(places, [])
    assert (list(renewed.missing), list(renewed.stopped)) == ([], [])
    assert await turn(stores.here, second, later) == Waiting(later)
    stores.expire_place(place)
    assert isinstance(await turn(stores.here, second, later), Claimed)


@pytest.mark.parametrize("how", ["renewal", "look"])
async def test_places_are_put_back_into_a_queue_that_a_crash_has_emptied(
    stores: StoresUnderTest, key: RunKey, how: str
) -> None:
    run = await stores.claimed(key)
    first, second = another(stores, key), another(stores, key)
    place, later = await place_of(stores, stores.there, first), await place_of(stores, stores.here, second)
    stores.empty_queues()
    if how == "renewal":
        assert list((await stores.there.renew_places({place: first}, [])).missing) == [place]
        assert list((await stores.there.renew_places({place: first}, [place])).missing) == []
    else:
        assert await turn(stores.there, first, place) == Waiting(place)
    newcomer = await place_of(stores, stores.there, another(stores, key))
    assert await turn(stores.here, second, later) == Waiting(later)
    assert newcomer.number > later.number > place.number
    await stores.here.end(run.run_id, run.epoch, "stopped")
    assert await turn(stores.here, second, later) == Waiting(later)
    assert isinstance(await turn(stores.there, first, place), Claimed)


async def test_answer_that_waits_at_two_processes_has_one_place_and_one_run(
    stores: StoresUnderTest, key: RunKey
) -> None:
    run = await stores.claimed(key)
    shared, other = another(stores, key), another(stores, key)
    place = await place_of(stores, stores.there, shared)
    await place_of(stores, stores.there, other)
    joined = await place_of(stores, stores.here, shared, when_busy="reject")
    reader = await place_of(stores, stores.here, shared, begins_in=())
    assert {joined.number, reader.number} == {place.number}
    await stores.here.end(run.run_id, run.epoch, "stopped")
    # Who may begin none waits for those who may.
    assert await turn(stores.here, shared, reader, may_begin=False) == Waiting(reader)
    claimed = await turn(stores.here, shared, joined)
    assert isinstance(claimed, Claimed)
    assert await turn(stores.there, shared, place) == Elsewhere(claimed.run_id, 1)
    await stores.here.end(claimed.run_id, 1, "dropped")
    with pytest.raises(ForbiddenError):
        await turn(stores.here, shared, reader, may_begin=False)


async def test_who_has_followed_an_answer_comes_before_those_who_waited_for_it(
    stores: StoresUnderTest, key: RunKey
) -> None:
    run = await stores.claimed(key)
    waiting = another(stores, key)
    place = await place_of(stores, stores.here, waiting)
    await stores.here.end(run.run_id, run.epoch, "dropped")
    assert isinstance(await stores.there.claim(key, uuid7()), Claimed)
    again = await stores.here.claim(another(stores, key), uuid7())
    assert isinstance(again, Waiting)
    assert again.place.number < place.number


# --- interrupting -----------------------------------------------------------------------------------------


async def test_interrupting_request_stops_what_is_in_its_way_and_comes_next(
    stores: StoresUnderTest, key: RunKey
) -> None:
    run = await stores.claimed(key)
    waiting, first, second = (another(stores, key) for _ in range(3))
    enqueued = await place_of(stores, stores.there, waiting)
    interrupting = await place_of(stores, stores.there, first, when_busy="interrupt")
    assert interrupting.interrupts
    assert interrupting.number < enqueued.number
    assert (await stores.here.renew([run.run_id]))[run.run_id].stop == "discard"
    # The next one takes its place, also at another process, and leaves the enqueued one alone.
    next_one = await place_of(stores, stores.here, second, when_busy="interrupt", here=[key.trigger_id])
    assert next_one.number < interrupting.number
    renewed = await stores.there.renew_places({enqueued: waiting, interrupting: first}, [])
    assert (list(renewed.missing), list(renewed.stopped)) == ([], [interrupting])
    await stores.here.end(run.run_id, run.epoch, "stopped")
    assert await turn(stores.there, first, interrupting) == Waiting(interrupting)
    assert isinstance(await turn(stores.here, second, next_one), Claimed)


async def test_interrupting_request_leaves_its_own_answer_alone(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    opened = await stores.there.open(stores.request(key, when_busy="interrupt"))
    assert opened.outcome == Elsewhere(run.run_id, 1)
    shared = another(stores, key)
    place = await place_of(stores, stores.there, shared)
    joined = await place_of(stores, stores.here, shared, when_busy="interrupt")
    assert (joined.number, joined.interrupts) == (place.number, False)
    assert (await stores.here.renew([run.run_id]))[run.run_id].stop is None


async def test_interrupting_request_ends_a_run_whose_process_died(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key, askers=ANYBODY)
    stores.expire(run.run_id)
    opened = await stores.there.open(stores.request(another(stores, key), when_busy="interrupt"))
    assert isinstance(opened.outcome, Claimed)
    assert stores.status(run.run_id) == "stopped"


# --- making way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when_busy", ["reject", "enqueue"])
async def test_owner_is_asked_to_make_way_and_says_what_becomes_of_it(
    stores: StoresUnderTest, key: RunKey, when_busy: str
) -> None:
    run = await stores.claimed(key)
    other = another(stores, key)
    assert (await stores.here.renew([run.run_id]))[run.run_id].asked_to_yield is False
    opened = await stores.there.open(stores.request(other, when_busy=when_busy))
    assert isinstance(opened.outcome, Busy if when_busy == "reject" else Waiting)
    assert await stores.there.yield_state(run.run_id) is YieldState.PENDING
    assert (await stores.here.renew([run.run_id]))[run.run_id].asked_to_yield
    await stores.there.decline([run.run_id])
    assert await stores.there.yield_state(run.run_id) is YieldState.PENDING, "it is not theirs"
    await stores.here.decline([run.run_id])
    assert await stores.there.yield_state(run.run_id) is YieldState.STAYS
    await stores.here.end(run.run_id, run.epoch, "dropped")
    assert await stores.there.yield_state(run.run_id) is YieldState.GONE
    assert await stores.there.yield_state(uuid7()) is YieldState.GONE


async def test_only_another_process_that_generates_is_asked_to_make_way(stores: StoresUnderTest, key: RunKey) -> None:
    assert await stores.there.ask_to_yield(key.conversation_id) is None
    run = await stores.claimed(key)
    assert await stores.here.ask_to_yield(key.conversation_id) is None
    assert (await stores.here.renew([run.run_id]))[run.run_id].asked_to_yield is False
    assert await stores.there.ask_to_yield(key.conversation_id) == run.run_id
    assert (await stores.here.renew([run.run_id]))[run.run_id].asked_to_yield
    stores.expire(run.run_id)
    assert await stores.there.ask_to_yield(key.conversation_id) is None


# --- what dead processes leave ----------------------------------------------------------------------------


async def test_sweep_ends_runs_of_dead_processes_that_nobody_waits_for(stores: StoresUnderTest) -> None:
    runs = []
    for seconds_ago, askers, stop, status in (
        (-5, NOBODY, False, "active"),
        (0.1, NOBODY, False, "active"),  # left to those who follow it
        (5, NOBODY, False, "dropped"),
        (5, NOBODY, True, "stopped"),
        (50, ANYBODY, False, "active"),  # left to those who adopt it
        (50, ANYBODY, True, "stopped"),
        (70, ANYBODY, False, "dropped"),
    ):
        conversation = stores.conversation()
        run = await stores.claimed(stores.key(conversation, stores.say(conversation)), askers=askers)
        if stop:
            await stores.there.request_stop(conversation, None, keep=False)
        stores.expire(run.run_id, seconds_ago=seconds_ago)
        runs.append((run.run_id, status))
    await stores.there.sweep()
    await stores.there.clean()
    assert [stores.status(run_id) for run_id, _ in runs] == [status for _, status in runs]
