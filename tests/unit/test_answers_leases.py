"""The owner of an answer holds it by a lease; other processes follow, and take it over when the lease expires."""

from __future__ import annotations

import asyncio
import logging

import pytest

from chatserver.errors import ProviderError
from chatserver.live import leases
from chatserver.live.following import POLL_SECONDS
from chatserver.live.leases import HEARTBEAT_SECONDS, SWEEP_SECONDS
from chatserver.providers.base import ReasoningDelta
from chatserver.sse import unchunk
from tests.kit.memory_store import ANYBODY, LEASE_SECONDS
from tests.kit.processes import (
    ELSEWHERE,
    FIRST,
    SECOND,
    STOP,
    Client,
    World,
    clients,
    ended_runs,
    run_of,
    world,
)
from tests.kit.virtual_time import in_virtual_time, now

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


# --- leases -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("runs_at_once", "visits_a_beat"), [(leases.RUNS_AT_ONCE, 1), (1, 2)])
@in_virtual_time
async def test_leases_of_many_runs_are_renewed_in_one_visit(
    monkeypatch: pytest.MonkeyPatch, runs_at_once: int, visits_a_beat: int
) -> None:
    """In several, if there are more than `RUNS_AT_ONCE`."""
    monkeypatch.setattr(leases, "RUNS_AT_ONCE", runs_at_once)
    async with world() as w:
        process = w.process()
        one, other = await clients(process, FIRST, ELSEWHERE)
        visits = process.store.visits["renew"]
        for _ in range(30):
            await asyncio.sleep(1)
            assert all(row.lease_until > now() + LEASE_SECONDS - 2 for row in w.database.rows.values())
        beats = (process.store.visits["renew"] - visits) / visits_a_beat
        assert 30 / HEARTBEAT_SECONDS - 1 <= beats <= 30 / HEARTBEAT_SECONDS + 1
        w.model.say("a", STOP, "b", STOP)
        await asyncio.gather(one.rest(), other.rest())


@in_virtual_time
async def test_lease_renewal_goes_on_after_an_absence_and_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        process = w.process()
        (client,) = await clients(process, FIRST)
        w.database.away = True
        await asyncio.sleep(5)
        w.database.away = False
        process.store.defects["renew"] = RuntimeError("a defect")
        process.store.defects["abandoned"] = RuntimeError("a defect")
        await asyncio.sleep(3 * LEASE_SECONDS)
        (row,) = w.database.rows.values()
        assert row.lease_until > now()
        visits = process.store.visits["abandoned"]
        await asyncio.sleep(2 * SWEEP_SECONDS)
        assert process.store.visits["abandoned"] > visits
        w.model.say("a", STOP)
        await client.rest()
        assert client.end == "done"
    assert sum(record.levelno >= logging.ERROR for record in caplog.records) == 2
    caplog.clear()


@pytest.mark.parametrize("keep", [False, True])
@in_virtual_time
async def test_owner_stops_when_another_process_requests_it(keep: bool) -> None:
    async with world() as w:
        (client,) = await clients(w.process(), FIRST)
        w.model.say("a")
        await client.until_text("a")
        (row,) = w.database.rows.values()
        row.stop_requested = "keep" if keep else "discard"
        await client.rest()
        assert now() <= HEARTBEAT_SECONDS + 0.1
        assert (client.end, w.database.statuses()) == ("stopped", ["kept" if keep else "stopped"])
        assert w.database.answers() == (["a"] if keep else [])


@in_virtual_time
async def test_owner_continues_when_another_process_requests_it() -> None:
    async with world(grace_seconds=0) as w:
        (client,) = await clients(w.process(), FIRST)
        await w.process().store.set_continues(run_of(client).journal.run_id, ANYBODY)
        await asyncio.sleep(HEARTBEAT_SECONDS + 0.1)
        client.leave()
        w.model.say("a", STOP)
        await run_of(client).wait_settled()
        assert w.database.answers() == ["a"]


@in_virtual_time
async def test_ended_run_has_no_lease_renewed() -> None:
    async with world() as w:
        process = w.process()
        (client,) = await clients(process, FIRST)
        w.model.say("a", STOP)
        await client.rest()
        await asyncio.sleep(10)
        # It still looks whether the database is there.
        assert (process.store.visits["renew"], process.store.renewed) == (
            11,
            [[run_of(client).journal.run_id], *[[]] * 10],
        )


# --- followers --------------------------------------------------------------------------------------------


async def owner_and_follower(w: World) -> tuple[Client, Client]:
    owner, follower = w.process(), w.process()
    (first,) = await clients(owner, FIRST)
    (second,) = await clients(follower, FIRST)
    assert (run_of(first).owned, run_of(second).owned) == (True, False)
    w.model.say("abc")
    await first.until_text("abc")
    return first, second


@in_virtual_time
async def test_follower_gets_the_answer_and_its_end() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        w.model.say("def", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (second.text, second.ends, second.resets) == ("abcdef", first.ends, 0)
        assert w.model.generations == 1


@in_virtual_time
async def test_client_resumes_at_another_process() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        first.leave()
        await first.open(w.processes[1], FIRST)
        w.model.say("def", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (first.text, first.resets, first.ends) == ("abcdef", 0, second.ends)


@in_virtual_time
async def test_follower_counts_as_a_reader_of_the_owner() -> None:
    async with world(grace_seconds=0) as w:
        first, second = await owner_and_follower(w)
        await asyncio.sleep(2)
        first.leave()
        await asyncio.sleep(30)
        assert w.database.statuses() == ["active"]
        w.model.say("def", STOP)
        await second.rest()
        assert second.text == "abcdef"


@in_virtual_time
async def test_answer_is_dropped_when_the_last_follower_leaves() -> None:
    async with world(grace_seconds=0) as w:
        first, second = await owner_and_follower(w)
        await asyncio.sleep(2)
        first.leave()
        second.leave()
        await asyncio.sleep(5)
        assert (w.database.statuses(), w.model.open) == (["dropped"], 0)


@in_virtual_time
async def test_follower_generates_an_answer_that_its_owner_dropped() -> None:
    async with world(grace_seconds=0) as w:
        first, second = await owner_and_follower(w)
        first.leave()  # before the first look told the owner
        w.processes[1].store.away = True
        await asyncio.sleep(5)
        assert w.database.statuses() == ["dropped"]
        w.processes[1].store.away = False
        w.model.say("new", STOP)
        await second.rest()
        assert (second.text, second.end) == ("new", "done")


@pytest.mark.parametrize("how", ["stop", "keep", "error"])
@in_virtual_time
async def test_follower_sees_every_end(how: str) -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        if how == "error":
            w.model.say(ProviderError("timeout", "Too slow"))
        else:
            assert await run_of(first).stop(keep=how == "keep")
        await asyncio.gather(first.rest(), second.rest())
        assert second.ends == first.ends
        assert second.text == ("abc" if how == "keep" else "")


@in_virtual_time
async def test_client_of_the_new_owner_resumes_at_a_follower_of_both() -> None:
    """The follower has a journal of its own, in which the same event id means another place."""
    async with world() as w:
        old, follower, new = w.process(), w.process(), w.process()
        (first,) = await clients(old, FIRST)
        (second,) = await clients(follower, FIRST)
        first.leave()
        await old.die()
        (row,) = w.database.rows.values()
        row.lease_until = now()
        (third,) = await clients(new, FIRST)
        assert run_of(third).owned
        w.model.say("abc")
        await third.until_text("abc")
        await asyncio.sleep(2 * POLL_SECONDS)
        second.read()
        assert run_of(second).journal.epoch == row.epoch == 2
        third.leave()
        await third.open(follower, FIRST)
        w.model.say("def", STOP)
        await asyncio.gather(second.rest(), third.rest())
        assert second.text == third.text == "abcdef"


@in_virtual_time
async def test_follower_shows_an_answer_that_was_edited_before_it_looked() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        moved = Client()
        moved.see(unchunk(run_of(first).journal.frames_since(0, 1)[0][0]))
        await moved.open(w.processes[1], FIRST)
        hold = w.processes[1].store.hold("look")
        w.model.say("def", STOP)
        await first.rest()
        (row,) = w.database.rows.values()
        assert row.answer is not None
        row.answer.edited = "abxy"
        hold.release()
        await asyncio.gather(second.rest(), moved.rest())
        assert second.text == moved.text == "abxy"


@in_virtual_time
async def test_follower_outlives_an_absence_of_the_database() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        w.database.away = True
        await asyncio.sleep(5)
        w.database.away = False
        w.model.say("def", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (second.text, second.resets) == ("abcdef", 0)


@in_virtual_time
async def test_follower_takes_over_from_a_dead_process() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        first.leave()
        await w.processes[0].die()
        died = now()
        await first.open(w.processes[1], FIRST)
        w.model.say(ReasoningDelta("new"), "new", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert now() - died <= LEASE_SECONDS + 1
        assert (first.text, first.resets, first.end) == ("new", 1, "done")
        assert (second.text, second.end) == ("new", "done")
        (row,) = w.database.rows.values()
        assert (row.epoch, row.owner) == (2, w.processes[1].store.owner)
        assert row.answer is not None
        # what the new process knows, and nothing of the dead one
        assert (row.answer.new.model, row.answer.new.duration_ms, row.answer.new.reasoning) == ("the model", 0, "new")


@in_virtual_time
async def test_orphaned_run_makes_way_for_another_trigger() -> None:
    async with world() as w:
        first, second = w.process(), w.process()
        (client,) = await clients(first, FIRST)
        client.leave()
        await first.die()
        (other,) = await clients(second, SECOND)
        w.model.say("b", STOP)
        await other.rest()
        assert (now() <= LEASE_SECONDS + 1, w.database.statuses()) == (True, ["dropped", "completed"])


@in_virtual_time
async def test_follower_takes_over_when_its_turn_comes() -> None:
    """Another client waits here and came first; the run of the dead process makes way for it."""
    async with world() as w:
        here, there = w.process(), w.process()
        (first,) = await clients(there, FIRST)
        (second,) = await clients(here, SECOND)
        await asyncio.sleep(POLL_SECONDS / 2)
        (follower,) = await clients(here, FIRST)
        first.leave()
        await there.die()
        claims = here.store.visits["claim"]
        while here.store.visits["claim"] == claims:
            await asyncio.sleep(POLL_SECONDS / 20)
        # the next to notice is the follower
        (row,) = w.database.rows.values()
        row.lease_until = now()
        w.model.say("x", STOP, "x", STOP)
        await asyncio.gather(second.rest(), follower.rest())
        assert (second.text, follower.text) == ("x", "x")
        current = [row.key for row in w.database.rows.values() if row.status == "completed"]
        assert current == [SECOND, FIRST]


# --- stops and counts -------------------------------------------------------------------------------------


@in_virtual_time
async def test_stop_of_a_run_that_was_taken_over_leaves_the_next_run_alone() -> None:
    async with world() as w:
        old, new = w.process(), w.process()
        (first,) = await clients(old, FIRST)
        w.model.say("a")
        await first.until_text("a")
        hold = old.store.hold("commit")
        stopping = asyncio.create_task(old.stop(FIRST.conversation_id, keep=True))
        await hold.entered.wait()
        # Meanwhile another process takes the run over, finishes it, and begins the next one.
        (row,) = w.database.rows.values()
        row.lease_until = now()
        (second,) = await clients(new, FIRST)
        w.model.say("b", STOP)
        await second.rest()
        (third,) = await clients(new, SECOND)
        hold.release()
        assert not await stopping
        w.model.say("c", STOP)
        await asyncio.gather(first.rest(), third.rest())
        assert [client.end for client in (first, second, third)] == ["done"] * 3
        assert w.database.answers() == ["b", "c"]


@in_virtual_time
async def test_process_counts_only_answers_that_it_generated() -> None:
    async with world(grace_seconds=0) as w:
        owner, other = w.process(), w.process()
        (first,) = await clients(owner, FIRST)
        following, queued = await clients(other, FIRST, SECOND)
        for leaving in (following, queued):
            leaving.leave()
            await run_of(leaving).wait_settled()
        w.model.say("a", STOP)
        await first.rest()
        assert (ended_runs(owner), ended_runs(other)) == ({"done": 1}, {})


@in_virtual_time
async def test_answer_that_is_handed_over_is_counted_by_the_process_that_ends_it() -> None:
    async with world() as w:
        ending, living = w.process(), w.process()
        living.start()
        client = Client()
        await client.open(ending, FIRST, continues=True)
        client.leave()
        await ending.answers.close()
        w.model.say("a", STOP)
        await asyncio.sleep(LEASE_SECONDS + 2 * SWEEP_SECONDS)
        assert w.database.answers() == ["a"]
        assert (ended_runs(ending), ended_runs(living)) == ({}, {"done": 1})
