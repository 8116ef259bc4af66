"""The answers of several processes: one queue of a conversation, making way, stops, and what dead processes leave."""

from __future__ import annotations

import asyncio

import pytest

from chatserver.errors import ConflictError
from chatserver.live.absence import RETURN_SECONDS
from chatserver.live.following import POLL_SECONDS
from chatserver.live.leases import HEARTBEAT_SECONDS, SWEEP_SECONDS
from chatserver.live.making_way import YIELD_SECONDS
from chatserver.live.outcomes import RunKey
from chatserver.live.store import WhenBusy
from tests.kit.memory_places import PLACE_SECONDS
from tests.kit.memory_store import ADOPTED_WITHIN_SECONDS, LEASE_SECONDS
from tests.kit.processes import (
    ELSEWHERE,
    FIRST,
    GRACE_SECONDS,
    SECOND,
    STOP,
    THIRD,
    Client,
    World,
    clients,
    key,
    run_of,
    world,
)
from tests.kit.virtual_time import in_virtual_time, now, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")

# What is told is done at once; else it is found at the next poll.
HEARS = pytest.mark.parametrize(("hears", "within_seconds"), [(True, 0.1), (False, 1.1)], ids=["told", "polls"])
ZEROTH, FOURTH = key(0), key(4)


async def asks(w: World, at: int, asked: RunKey, when_busy: WhenBusy = "enqueue", **options: bool) -> Client:
    client = Client()
    w.database.ask(asked)
    await client.open(w.processes[at], asked, when_busy=when_busy, **options)
    await quiet()
    return client


# --- the queue --------------------------------------------------------------------------------------------


@HEARS
@in_virtual_time
async def test_answers_of_several_processes_have_their_turns_in_order(hears: bool, within_seconds: float) -> None:
    async with world() as w:
        for _ in range(3):
            w.process(hears=hears)
        line = [await asks(w, at, asked) for at, asked in ((0, FIRST), (2, SECOND), (1, THIRD), (2, ZEROTH))]
        for number, client in enumerate(line):
            assert w.database.statuses() == ["completed"] * number + ["active"]
            w.model.say(f"answer {number}", STOP)
            await client.rest()
            assert (client.text, client.end, client.resets) == (f"answer {number}", "done", 0)
            await asyncio.sleep(within_seconds)
        assert not w.database.places.entries


@HEARS
@in_virtual_time
async def test_who_leaves_first_gives_the_turn_to_the_next(hears: bool, within_seconds: float) -> None:
    async with world() as w:
        for _ in range(3):
            w.process(hears=hears)
        first, second, third = [await asks(w, at, asked) for at, asked in enumerate((FIRST, SECOND, THIRD))]
        hold = w.processes[1].store.hold("claim")
        w.model.say(STOP)
        await first.rest_of_stream()
        await hold.entered.wait()
        second.leave()
        hold.release()
        await asyncio.sleep(GRACE_SECONDS + within_seconds)
        assert w.database.statuses() in (["failed", "dropped", "active"], ["failed", "active"])
        w.model.say("c", STOP)
        await third.rest()
        assert third.text == "c"


@in_virtual_time
async def test_places_of_a_dead_process_are_lost_and_others_keep_theirs() -> None:
    async with world() as w:
        dying, living = w.process(), w.process()
        (first,) = await clients(living, FIRST)
        await asks(w, 0, SECOND)
        third = await asks(w, 1, THIRD)
        await asyncio.sleep(3 * PLACE_SECONDS)
        assert len(list(w.database.places.of(FIRST.conversation_id))) == 2
        await dying.die()
        died = now()
        w.model.say("a", STOP, "c")
        await first.rest()
        await third.until_text("c")
        assert PLACE_SECONDS - HEARTBEAT_SECONDS <= now() - died <= PLACE_SECONDS + POLL_SECONDS
        w.model.say(STOP)
        await third.rest()


@in_virtual_time
async def test_places_are_put_back_after_a_crash_of_the_database() -> None:
    async with world() as w:
        w.process(), w.process()
        first = await asks(w, 0, FIRST)
        line = [await asks(w, at, asked) for at, asked in ((1, SECOND), (0, THIRD), (1, FOURTH))]
        w.database.places.entries.clear()
        await asyncio.sleep(3 * HEARTBEAT_SECONDS)
        newcomer = await asks(w, 0, ZEROTH)
        w.model.say(STOP)
        await first.rest_of_stream()
        for client in (*line, newcomer):
            w.model.say("x", STOP)
            await client.rest()
        asked = [row.key for row in w.database.rows.values()]
        assert asked == [FIRST, SECOND, THIRD, FOURTH, ZEROTH]


@in_virtual_time
async def test_hints_neither_put_a_place_back_nor_have_another_one_forgotten() -> None:
    """A claim that is under way has removed its place; those that are missing at two heartbeats were lost."""
    async with world() as w:
        w.process(), w.process()
        await asks(w, 0, FIRST)
        second, third = [run_of(await asks(w, 1, asked)) for asked in (SECOND, THIRD)]
        assert second.place is not None and third.place is not None
        await asyncio.sleep(HEARTBEAT_SECONDS / 2)
        w.database.places.entries.clear()
        for beats in range(3):
            for _ in range(3):
                w.processes[1].answers.heard(f"run {second.place.id}")
                await quiet()
            if beats == 0:
                assert not w.database.places.entries
            await asyncio.sleep(HEARTBEAT_SECONDS)
        assert w.database.places.entries.keys() == {second.place.id, third.place.id}


@HEARS
@in_virtual_time
async def test_answer_that_waits_at_two_processes_is_begun_once_and_read_at_both(
    hears: bool, within_seconds: float
) -> None:
    async with world() as w:
        for _ in range(3):
            w.process(hears=hears)
        first = await asks(w, 0, FIRST)
        second, third = await asks(w, 1, SECOND), await asks(w, 2, THIRD)
        joined = await asks(w, 2, SECOND, "reject")
        reader = Client()
        await reader.open(w.processes[0], SECOND, begins_in=())
        w.model.say("a", STOP)
        await first.rest()
        await asyncio.sleep(within_seconds)
        assert w.database.statuses() == ["completed", "active"]
        w.model.say("b", STOP, "c", STOP)
        await asyncio.gather(*(client.rest() for client in (second, joined, reader, third)))
        assert [client.text for client in (second, joined, reader, third)] == ["b", "b", "b", "c"]
        assert w.model.generations == 3


@HEARS
@in_virtual_time
async def test_interrupting_clients_stop_each_other_across_processes(hears: bool, within_seconds: float) -> None:
    async with world() as w:
        for _ in range(3):
            w.process(hears=hears)
        hold = w.processes[0].store.hold("end")
        first = await asks(w, 0, FIRST)
        enqueued = await asks(w, 1, THIRD)
        second = await asks(w, 1, SECOND, "interrupt")
        third = await asks(w, 2, FOURTH, "interrupt")
        await second.rest()
        assert second.end == "stopped"
        assert now() <= within_seconds
        hold.release()
        w.model.say("d", STOP, "c", STOP)
        await asyncio.gather(*(client.rest() for client in (first, third, enqueued)))
        assert (first.end, third.text, enqueued.text) == ("stopped", "d", "c")
        assert w.database.statuses() == ["stopped", "completed", "completed"]


# --- making way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when_busy", ["reject", "enqueue", "interrupt"])
@HEARS
@in_virtual_time
async def test_answer_without_readers_makes_way_for_another_process(
    hears: bool, within_seconds: float, when_busy: WhenBusy
) -> None:
    async with world() as w:
        w.process(hears=hears), w.process(hears=hears)
        first = await asks(w, 0, FIRST)
        first.leave()
        second = await asks(w, 1, SECOND, when_busy)
        await asyncio.sleep(within_seconds + (0 if hears else POLL_SECONDS))
        assert w.database.statuses() == ["stopped" if when_busy == "interrupt" else "dropped", "active"]
        w.model.say("b", STOP)
        await second.rest()
        assert second.text == "b"


@pytest.mark.parametrize("why", ["read", "followed", "continues", "dead"])
@in_virtual_time
async def test_answer_that_somebody_wants_does_not_make_way(why: str) -> None:
    async with world() as w:
        for _ in range(3):
            w.process(hears=True)
        first = await asks(w, 0, FIRST, continues=why == "continues")
        if why == "followed":
            await asks(w, 2, FIRST)
            await asyncio.sleep(2 * HEARTBEAT_SECONDS)
        if why != "read":
            first.leave()
        if why == "dead":
            await w.processes[0].die()
        began = now()
        with pytest.raises(ConflictError):
            await asks(w, 1, SECOND, "reject")
        assert now() - began <= (YIELD_SECONDS if why == "dead" else 0.1)
        assert (w.database.statuses(), w.database.active(FIRST.conversation_id).asked_to_yield) == (  # type: ignore[union-attr]
            ["active"],
            why == "dead",
        )
        assert not w.database.places.entries
        if why == "continues":
            w.model.say("a", STOP)
            await quiet()


# --- stops ------------------------------------------------------------------------------------------------


@HEARS
@in_virtual_time
async def test_stop_at_another_process_is_done_when_its_owner_is_told(hears: bool, within_seconds: float) -> None:
    async with world() as w:
        owner, other = w.process(hears=hears), w.process(hears=hears)
        (first,) = await clients(owner, FIRST)
        began = now()
        assert await other.stop(FIRST.conversation_id, keep=False)
        assert now() - began <= within_seconds + POLL_SECONDS * (not hears)
        await first.rest()
        assert first.end == "stopped"


@in_virtual_time
async def test_many_hints_are_looked_at_in_one_visit_and_lost_ones_by_a_look_at_all() -> None:
    async with world() as w:
        process = w.process()
        first, _ = await clients(process, FIRST, ELSEWHERE)
        await quiet()
        hold = process.store.hold("renew")
        before = len(process.store.renewed)
        run_id = w.database.active(FIRST.conversation_id).id  # type: ignore[union-attr]
        process.answers.heard(f"run {run_id}")
        await hold.entered.wait()
        for _ in range(5):
            process.answers.heard(f"run {run_id}")
        process.answers.heard(f"turn {FIRST.conversation_id}")
        hold.release()
        await quiet()
        assert process.store.renewed[before:] == [[run_id]] * 2
        process.answers.heard("")
        await quiet()
        assert sorted(process.store.renewed[-1]) == sorted(w.database.rows)
        w.model.say(STOP, STOP)
        first.leave()


# --- dead processes, and a database that was away ---------------------------------------------------------


@pytest.mark.parametrize("continues", [False, True])
@in_virtual_time
async def test_run_of_a_dead_process_that_nobody_asks_for_is_swept(continues: bool) -> None:
    async with world() as w:
        dying, full = w.process(), w.process(max_runs=0)
        full.start()
        client = Client()
        await client.open(dying, FIRST, continues=continues)
        client.leave()
        await dying.die()
        waits = ADOPTED_WITHIN_SECONDS if continues else 0
        await asyncio.sleep(waits + LEASE_SECONDS - HEARTBEAT_SECONDS)
        assert w.database.statuses() == ["active"]
        await asyncio.sleep(HEARTBEAT_SECONDS + SWEEP_SECONDS + 1)
        assert w.database.statuses() == ["dropped"]


@pytest.mark.parametrize("away_seconds", [LEASE_SECONDS / 2, 3 * LEASE_SECONDS])
@in_virtual_time
async def test_owner_commits_after_an_absence_of_the_database_however_long(away_seconds: float) -> None:
    """Also if other processes follow the answer, want to adopt it, sweep, or are asked for it or for others."""
    async with world() as w:
        owner, other = w.process(), w.process()
        other.start()
        first, followed = await asks(w, 0, FIRST), await asks(w, 1, FIRST)
        second = await asks(w, 0, ELSEWHERE, continues=True)
        second.leave()
        waiting = await asks(w, 1, SECOND)
        hold = owner.store.hold("commit")
        w.model.say("a", STOP, "a", STOP)
        await hold.entered.wait()
        w.database.away = True
        hold.release()
        await asyncio.sleep(away_seconds)
        w.database.away = False
        latest = await asks(w, 1, ELSEWHERE)
        await asyncio.gather(*(client.rest() for client in (first, followed, latest)))
        assert [client.text for client in (first, followed, latest)] == ["a"] * 3
        assert {row.epoch for row in w.database.rows.values()} == {1}
        w.model.say("b", STOP)
        await waiting.rest()
        assert (w.model.generations, first.resets, followed.resets) == (3, 0, 0)


@in_virtual_time
async def test_owner_that_does_not_return_after_an_absence_loses_its_run() -> None:
    async with world() as w:
        dying = w.process()
        w.process()
        await asks(w, 0, FIRST)
        followed = await asks(w, 1, FIRST)
        w.database.away = True
        await dying.die()
        await asyncio.sleep(3 * LEASE_SECONDS)
        w.database.away = False
        back = now()
        w.model.say("b", STOP)
        await followed.rest()
        assert (followed.text, w.database.statuses()) == ("b", ["completed"])
        assert RETURN_SECONDS <= now() - back <= RETURN_SECONDS + HEARTBEAT_SECONDS + POLL_SECONDS
