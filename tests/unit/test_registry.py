"""The runs of a process and of several, in virtual time: lines, leases, followers, take-overs, the end of a process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from uuid import UUID

import pytest

from chatserver.errors import NotFoundError, ProviderError, UnavailableError, ValidationError
from chatserver.live.persistence import COMMIT_SECONDS
from chatserver.live.registry import HEARTBEAT_SECONDS, SWEEP_SECONDS
from chatserver.live.run import LOOK_SECONDS, Interrupt, Queued, Run
from chatserver.live.streams import OpenStreams
from chatserver.metrics import Metrics
from tests.unit.memory_store import LEASE_SECONDS
from tests.unit.processes import STOP, Client, Process, World, key, world
from tests.unit.virtual_time import in_virtual_time, now, quiet

FIRST, SECOND, THIRD = key(1), key(2), key(3)
ELSEWHERE = key(9, UUID(int=77))


@pytest.fixture(autouse=True)
def _no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A test that expects one clears the log."""
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


async def clients(process: Process, *keys: object) -> list[Client]:
    """A client for each, in this order."""
    opened = []
    for each in keys:
        client = Client()
        await client.open(process, each)  # type: ignore[arg-type]
        await quiet()
        opened.append(client)
    return opened


def run_of(client: Client) -> Run:
    assert client.run is not None
    return client.run


# --- the line of a conversation ---------------------------------------------------------------------------


@in_virtual_time
async def test_one_after_the_other() -> None:
    async with world() as w:
        process = w.process()
        line = await clients(process, FIRST, SECOND, THIRD)
        assert [run.key for run in process.registry.line(FIRST.conversation_id)] == [FIRST, SECOND, THIRD]
        for number, client in enumerate(line):
            assert w.database.statuses() == ["completed"] * number + ["active"]
            w.model.say(f"answer {number}", STOP)
            await client.rest()
            await quiet()
            assert (client.text, client.end, client.resets) == (f"answer {number}", "done", 0)
        assert w.model.generations == 3
        assert process.registry.line(FIRST.conversation_id) == ()


@in_virtual_time
async def test_conversations_do_not_wait_for_each_other() -> None:
    async with world() as w:
        one, other = await clients(w.process(), FIRST, ELSEWHERE)
        assert w.model.open == 2
        w.model.say(STOP, "a", STOP)
        await asyncio.gather(one.rest(), other.rest())
        assert {one.end, other.end} == {"done", "bad_response"}


@in_virtual_time
async def test_who_leaves_the_line_loses_the_place_at_once() -> None:
    async with world() as w:
        process = w.process()
        first, second, third = await clients(process, FIRST, SECOND, THIRD)
        second.leave()
        await quiet()
        assert [run.key for run in process.registry] == [FIRST, THIRD]
        w.model.say("a", STOP, "c", STOP)
        await asyncio.gather(first.rest(), third.rest())
        assert (third.text, w.model.generations, w.database.statuses()) == ("c", 2, ["completed"] * 2)


@in_virtual_time
async def test_who_comes_back_to_the_line_has_the_id_of_the_place() -> None:
    async with world() as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        other = Client()
        await other.open(process, SECOND)
        second.leave()
        second_id = second.last_id
        await second.open(process, SECOND)
        assert second.last_id == second_id
        w.model.say(STOP, "b", STOP)
        await asyncio.gather(first.rest(), second.rest(), other.rest())
        assert (second.text, second.resets, other.text, w.model.generations) == ("b", 0, "b", 2)


@in_virtual_time
async def test_next_in_line_comes_before_those_that_wait() -> None:
    async with world() as w:
        process = w.process()
        first, third = await clients(process, FIRST, THIRD)
        run = process.registry.add(SECOND, Queued(), continues=False, next_in_line=True)
        reader = run.join()
        assert [each.key for each in process.registry] == [FIRST, SECOND, THIRD]
        assert await run_of(first).stop(keep=False)
        w.model.say("b", STOP, "c", STOP)
        await asyncio.gather(first.rest(), third.rest(), run.wait_settled())
        assert (first.end, third.text, w.database.answers()) == ("stopped", "c", ["b", "c"])
        reader.close()


@in_virtual_time
async def test_next_in_an_empty_line_is_the_first() -> None:
    async with world() as w:
        process = w.process()
        run = process.registry.add(FIRST, Queued(), continues=False, next_in_line=True)
        reader = run.join()
        w.model.say("a", STOP)
        await run.wait_settled()
        assert w.database.answers() == ["a"]
        reader.close()


@pytest.mark.parametrize("keep", [False, True])
@in_virtual_time
async def test_an_interrupted_answer_makes_way(keep: bool) -> None:
    async with world() as w:
        first, second = await clients(w.process(), FIRST, SECOND)
        w.model.say("a")
        await first.until_text("a")
        run_of(first).interrupt(Interrupt.KEEP if keep else Interrupt.DISCARD)
        w.model.say("b", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (first.end, second.text, second.end) == ("stopped", "b", "done")
        assert w.database.statuses() == ["kept" if keep else "stopped", "completed"]


@in_virtual_time
async def test_all_leave_while_it_is_claimed() -> None:
    """A claim is not interrupted; what it claimed is given back."""
    async with world(grace_seconds=0) as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        hold = process.store.hold("claim")
        w.model.say("a", STOP)
        await first.rest()
        await hold.entered.wait()
        second.leave()
        hold.release()
        await run_of(second).wait_settled()
        assert (w.database.statuses(), w.model.generations) == (["completed", "dropped"], 1)


@in_virtual_time
async def test_who_comes_while_that_claim_is_given_back_has_it_made() -> None:
    async with world() as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        hold = process.store.hold("claim")
        w.model.say("a", STOP)
        await first.rest()
        await hold.entered.wait()
        second.leave()
        coming = asyncio.ensure_future(second.open(process, SECOND))
        await quiet()
        hold.release()
        await coming
        w.model.say("b", STOP)
        await second.rest()
        assert (second.text, second.end, w.model.generations) == ("b", "done", 2)


@in_virtual_time
async def test_a_stop_waits_for_a_claim() -> None:
    """As the service does it: under the lock of the conversation."""
    async with world() as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        hold = process.store.hold("claim")
        w.model.say("a", STOP)
        await first.rest()
        await hold.entered.wait()

        async def stop() -> bool:
            async with process.registry.exclusively(SECOND.conversation_id):
                (run,) = process.registry.line(SECOND.conversation_id)
                assert run.owned
            return await run.stop(keep=False)

        stopping = asyncio.ensure_future(stop())
        await quiet()
        hold.release()
        assert await stopping
        await second.rest()
        assert (second.end, w.database.statuses()) == ("stopped", ["completed", "stopped"])


@in_virtual_time
async def test_a_conversation_that_is_busy_elsewhere_is_waited_for() -> None:
    async with world() as w:
        here, there = w.process(), w.process()
        (first,) = await clients(there, FIRST)
        second, third = await clients(here, SECOND, THIRD)
        await asyncio.sleep(5)
        assert w.database.statuses() == ["active"]
        w.model.say("a", STOP)
        await first.rest()
        ended = now()
        w.model.say("b", STOP, "c", STOP)
        await asyncio.gather(second.rest(), third.rest())
        assert (second.text, third.text) == ("b", "c")
        assert now() - ended <= LOOK_SECONDS + 0.1


@in_virtual_time
async def test_who_leaves_a_conversation_that_is_busy_elsewhere() -> None:
    async with world() as w:
        here, there = w.process(), w.process()
        (first,) = await clients(there, FIRST)
        second, third = await clients(here, SECOND, THIRD)
        here.store.away = True
        second.leave()
        await quiet()
        assert [run.key for run in here.registry] == [THIRD], "nothing of it has to be written down"
        here.store.away = False
        w.model.say("a", STOP, "c", STOP)
        await asyncio.gather(first.rest(), third.rest())
        assert third.text == "c"


# --- claims -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waited_seconds", [0.0, 2 * COMMIT_SECONDS])
@in_virtual_time
async def test_a_claim_is_tried_until_the_database_is_back(waited_seconds: float) -> None:
    """However long the line was before."""
    async with world() as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        await asyncio.sleep(waited_seconds)
        hold = process.store.hold("claim")
        w.model.say("a", STOP)
        await first.rest()
        await hold.entered.wait()
        w.database.away = True
        hold.release()
        await asyncio.sleep(COMMIT_SECONDS - 2)
        w.database.away = False
        back = now()
        w.model.say("b", STOP)
        await second.rest()
        assert now() - back < 2
        assert (second.text, second.end) == ("b", "done")


@in_virtual_time
async def test_a_claim_that_never_succeeds_is_an_error() -> None:
    async with world() as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        hold = process.store.hold("claim")
        w.model.say("a", STOP)
        await first.rest()
        await hold.entered.wait()
        w.database.away = True
        hold.release()
        began = now()
        await second.rest()
        assert now() - began == pytest.approx(COMMIT_SECONDS, abs=1)
        assert (second.end, second.ends[0]["retryable"]) == ("unavailable", True)
        w.database.away = False


@in_virtual_time
async def test_hiccups_far_apart_are_no_absence() -> None:
    async with world() as w:
        here, there = w.process(), w.process()
        (first,) = await clients(there, FIRST)
        (second,) = await clients(here, SECOND)
        for _ in range(4):
            here.store.away = True
            await asyncio.sleep(COMMIT_SECONDS / 2)
            here.store.away = False
            await asyncio.sleep(2)
        w.model.say("a", STOP, "b", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (second.text, second.end) == ("b", "done")


@in_virtual_time
async def test_a_claim_whose_confirmation_was_lost_costs_a_lease_at_most() -> None:
    async with world() as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        process.store.lose["claim"] = 1
        w.model.say("a", STOP, "b", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (second.text, second.end) == ("b", "done")
        assert now() <= LEASE_SECONDS + 2 * LOOK_SECONDS


@pytest.mark.parametrize(
    ("refusal", "end"),
    [
        (NotFoundError("Message not found"), "stopped"),
        (ValidationError(), "stopped"),
        (UnavailableError("The provider of this agent is not configured"), "unavailable"),
    ],
)
@in_virtual_time
async def test_what_cannot_be_claimed_when_its_turn_comes(refusal: Exception, end: str) -> None:
    async with world() as w:
        first, second = await clients(w.process(), FIRST, SECOND)
        w.database.refusal = refusal
        w.model.say("a", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (first.end, second.end) == ("done", end)
        assert list(w.processes[0].registry) == []


@in_virtual_time
async def test_a_deleted_conversation() -> None:
    async with world() as w:
        first, second = await clients(w.process(), FIRST, SECOND)
        w.database.deleted.add(FIRST.conversation_id)
        w.model.say("a", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (first.end, second.end, w.database.answers()) == ("stopped", "stopped", [])


@in_virtual_time
async def test_an_answer_that_was_made_elsewhere_meanwhile_is_shown() -> None:
    async with world() as w:
        here, there = w.process(), w.process()
        first, second = await clients(here, FIRST, SECOND)
        hold = here.store.hold("claim")
        w.model.say("a", STOP)
        await first.rest()
        await hold.entered.wait()
        w.model.say("b", STOP)
        (other,) = await clients(there, SECOND)
        await other.rest()
        hold.release()
        await second.rest()
        assert (second.text, second.end, w.database.answers()) == ("b", "done", ["a", "b"])


# --- bounds -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_no_more_than_max_runs() -> None:
    async with world(max_runs=2) as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        assert process.registry.full
        with pytest.raises(UnavailableError):
            await clients(process, THIRD)
        (joined,) = await clients(process, FIRST)
        w.model.say("a", STOP)
        await asyncio.gather(first.rest(), joined.rest())
        assert not process.registry.full
        w.model.say("b", STOP, "c", STOP)
        (third,) = await clients(process, THIRD)
        await asyncio.gather(second.rest(), third.rest())


@in_virtual_time
async def test_none_is_added_while_draining() -> None:
    async with world() as w:
        process = w.process()
        process.registry.draining = True
        assert process.registry.full


@in_virtual_time
async def test_the_lock_of_a_conversation_is_one_as_long_as_it_is_used() -> None:
    async with world() as w:
        registry = w.process().registry
        order: list[int] = []

        async def enter(number: int) -> None:
            async with registry.exclusively(FIRST.conversation_id):
                order.append(number)
                await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(enter(number))
        assert (order, now()) == ([0, 1, 2], pytest.approx(3))
        assert len(registry._locks) == 0


# --- leases -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_leases_are_renewed_for_all_runs_at_once() -> None:
    async with world() as w:
        process = w.process()
        one, other = await clients(process, FIRST, ELSEWHERE)
        visits = process.store.visits["renew"]
        for _ in range(30):
            await asyncio.sleep(1)
            assert all(row.lease_until > now() + LEASE_SECONDS - 2 for row in w.database.rows.values())
        assert process.store.visits["renew"] - visits <= 30 / HEARTBEAT_SECONDS + 1
        w.model.say("a", STOP, "b", STOP)
        await asyncio.gather(one.rest(), other.rest())


@in_virtual_time
async def test_the_heartbeat_outlives_an_absence_and_a_defect(caplog: pytest.LogCaptureFixture) -> None:
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
async def test_a_stop_that_was_asked_for_elsewhere(keep: bool) -> None:
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
async def test_no_lease_is_renewed_of_what_has_ended() -> None:
    async with world() as w:
        process = w.process()
        (client,) = await clients(process, FIRST)
        w.model.say("a", STOP)
        await client.rest()
        visits = process.store.visits["renew"]
        await asyncio.sleep(10)
        assert process.store.visits["renew"] == visits


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
async def test_a_follower_gets_the_answer_and_its_end() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        w.model.say("def", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (second.text, second.ends, second.resets) == ("abcdef", first.ends, 0)
        assert w.model.generations == 1


@in_virtual_time
async def test_a_client_goes_on_at_another_process() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        first.leave()
        await first.open(w.processes[1], FIRST)
        w.model.say("def", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (first.text, first.resets, first.ends) == ("abcdef", 0, second.ends)


@in_virtual_time
async def test_a_follower_counts_as_a_reader() -> None:
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
async def test_the_last_follower_leaves() -> None:
    async with world(grace_seconds=0) as w:
        first, second = await owner_and_follower(w)
        await asyncio.sleep(2)
        first.leave()
        second.leave()
        await asyncio.sleep(5)
        assert (w.database.statuses(), w.model.open) == (["dropped"], 0)


@in_virtual_time
async def test_an_answer_dropped_elsewhere_is_made_here() -> None:
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
async def test_a_follower_sees_every_end(how: str) -> None:
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
async def test_a_client_of_the_new_owner_goes_on_at_a_follower_of_both() -> None:
    """Whose journal is not the owner's: the same id says another place there."""
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
        await asyncio.sleep(2 * LOOK_SECONDS)
        second.read()
        assert run_of(second).journal.epoch == row.epoch == 2
        third.leave()
        await third.open(follower, FIRST)
        w.model.say("def", STOP)
        await asyncio.gather(second.rest(), third.rest())
        assert second.text == third.text == "abcdef"


@in_virtual_time
async def test_an_answer_that_is_edited_before_a_follower_looks() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        moved = Client()
        moved.see(run_of(first).journal.frames_since(0, 1)[0])
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
async def test_the_database_is_away_for_a_follower() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        w.database.away = True
        await asyncio.sleep(5)
        w.database.away = False
        w.model.say("def", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (second.text, second.resets) == ("abcdef", 0)


@in_virtual_time
async def test_a_process_dies_and_a_follower_takes_over() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        first.leave()
        await w.processes[0].die()
        died = now()
        await first.open(w.processes[1], FIRST)
        w.model.say("new", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert now() - died <= LEASE_SECONDS + 1
        assert (first.text, first.resets, first.end) == ("new", 1, "done")
        assert (second.text, second.end) == ("new", "done")
        (row,) = w.database.rows.values()
        assert (row.epoch, row.owner) == (2, w.processes[1].store.owner)


@in_virtual_time
async def test_an_orphan_makes_way_for_another_trigger() -> None:
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
async def test_a_follower_takes_over_when_it_is_its_turn() -> None:
    """Here another one waits, who came first; the run of a process that died makes way for it."""
    async with world() as w:
        here, there = w.process(), w.process()
        (first,) = await clients(there, FIRST)
        (second,) = await clients(here, SECOND)
        await asyncio.sleep(LOOK_SECONDS / 2)
        (follower,) = await clients(here, FIRST)
        first.leave()
        await there.die()
        claims = here.store.visits["claim"]
        while here.store.visits["claim"] == claims:
            await asyncio.sleep(LOOK_SECONDS / 20)
        # the next to notice is the follower
        (row,) = w.database.rows.values()
        row.lease_until = now()
        w.model.say("x", STOP, "x", STOP)
        await asyncio.gather(second.rest(), follower.rest())
        assert (second.text, follower.text) == ("x", "x")
        current = [row.key for row in w.database.rows.values() if row.status == "completed"]
        assert current == [SECOND, FIRST]


# --- runs that continue -----------------------------------------------------------------------------------


@in_virtual_time
async def test_a_continuing_run_of_a_dead_process_is_adopted() -> None:
    async with world() as w:
        dying, living = w.process(), w.process()
        living.registry.start()
        client = Client()
        await client.open(dying, FIRST, continues=True)
        client.leave()
        await dying.die()
        w.model.say("a", STOP)
        await asyncio.sleep(LEASE_SECONDS + SWEEP_SECONDS + 1)
        assert (w.database.answers(), w.database.statuses()) == (["a"], ["completed"])
        await client.open(living, FIRST)
        await client.rest()
        assert (client.text, client.resets) == ("a", 1)


@in_virtual_time
async def test_what_is_followed_here_is_not_adopted_as_well() -> None:
    async with world() as w:
        dying, living = w.process(), w.process()
        first, second = Client(), Client()
        await first.open(dying, FIRST, continues=True)
        await second.open(living, FIRST)
        hold = living.store.hold("look")
        await hold.entered.wait()
        first.leave()
        await dying.die()
        await asyncio.sleep(LEASE_SECONDS + 2 * SWEEP_SECONDS)
        assert [run.key for run in living.registry] == [FIRST]
        hold.release()
        w.model.say("a", STOP)
        await second.rest()
        assert (second.text, second.end) == ("a", "done")


@pytest.mark.parametrize("why", ["draining", "full"])
@in_virtual_time
async def test_who_takes_nothing_new_adopts_nothing(why: str) -> None:
    async with world() as w:
        dying, living = w.process(), w.process(max_runs=0 if why == "full" else 1)
        living.registry.start()
        living.registry.draining = why == "draining"
        client = Client()
        await client.open(dying, FIRST, continues=True)
        client.leave()
        await dying.die()
        await asyncio.sleep(LEASE_SECONDS + 3 * SWEEP_SECONDS)
        assert (list(living.registry), w.model.generations) == ([], 0)


@in_virtual_time
async def test_what_cannot_be_adopted_does_not_end_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        dying, living = w.process(), w.process()
        living.registry.start()
        client = Client()
        await client.open(dying, FIRST, continues=True)
        client.leave()
        await dying.die()
        w.database.refusal = UnavailableError("The provider of this agent is not configured")
        await asyncio.sleep(LEASE_SECONDS + 2 * SWEEP_SECONDS)
        assert "not configured" in caplog.text
        w.database.refusal = None
        w.model.say("a", STOP)
        await asyncio.sleep(2 * SWEEP_SECONDS)
        assert w.database.answers() == ["a"]


@in_virtual_time
async def test_finish_continuing_waits_for_those_only() -> None:
    async with world() as w:
        process = w.process()
        continuing, reading = Client(), Client()
        await continuing.open(process, FIRST, continues=True)
        await reading.open(process, ELSEWHERE)
        continuing.leave()
        finishing = asyncio.ensure_future(process.registry.finish_continuing())
        await asyncio.sleep(5)
        assert not finishing.done()
        w.model.say("a", STOP)
        await finishing
        assert w.database.answers() == ["a"]
        assert [run.key for run in process.registry] == [ELSEWHERE]
        await process.registry.finish_continuing()


# --- the end of a process ---------------------------------------------------------------------------------


@in_virtual_time
async def test_close_hands_over_and_is_idempotent() -> None:
    async with world() as w:
        process = w.process()
        reading, waiting, continuing = Client(), Client(), Client()
        await reading.open(process, FIRST)
        await waiting.open(process, SECOND)
        await continuing.open(process, ELSEWHERE, continues=True)
        w.model.say("a", "b")
        await quiet()
        await asyncio.gather(process.registry.close(), process.registry.close())
        await process.registry.close()
        assert (list(process.registry), w.model.open) == ([], 0)
        dropped, released = w.database.rows.values()
        assert (dropped.status, released.status) == ("dropped", "active")
        assert released.lease_until <= now()
        for client in (reading, waiting, continuing):
            client.read()
            assert client.ends == [], "they come back, and it goes on elsewhere"
            client.leave()
        other = w.process()
        w.model.say("new", STOP)
        await continuing.open(other, ELSEWHERE)
        await continuing.rest()
        assert (continuing.text, continuing.resets) == ("new", 1)


@in_virtual_time
async def test_close_waits_for_a_commit() -> None:
    async with world() as w:
        process = w.process()
        hold = process.store.hold("commit")
        (client,) = await clients(process, FIRST)
        w.model.say("a", STOP)
        await hold.entered.wait()
        closing = asyncio.ensure_future(process.registry.close())
        await quiet()
        assert not closing.done()
        hold.release()
        await closing
        assert w.database.answers() == ["a"]
        client.read()
        assert client.end == "done"


@pytest.mark.parametrize("continues", [False, True])
@in_virtual_time
async def test_close_does_not_wait_for_a_database_that_is_away(continues: bool) -> None:
    async with world() as w:
        process = w.process()
        client = Client()
        await client.open(process, FIRST, continues=continues)
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        began = now()
        await process.registry.close()
        assert now() - began < 1
        assert (w.model.open, list(process.registry)) == (0, [])
        client.read()
        assert client.ends == []
        w.database.away = False


@in_virtual_time
async def test_close_before_anything_began() -> None:
    async with world() as w:
        process = w.process()
        await process.registry.close()
        process.registry.start()
        await process.registry.close()
        assert process.registry.full


@in_virtual_time
async def test_a_run_that_is_added_while_closing_is_handed_over_too() -> None:
    async with world() as w:
        process = w.process()
        (client,) = await clients(process, FIRST)
        w.model.say("a")
        await client.until_text("a")
        w.model.closing_seconds = 2.0
        closing = asyncio.ensure_future(process.registry.close())
        await asyncio.sleep(1)
        late = process.registry.add(ELSEWHERE, Queued(), continues=False)
        reader = late.join()
        await closing
        assert list(process.registry) == []
        reader.close()


# --- open streams -----------------------------------------------------------------------------------------


class Stream:
    woken = 0

    def wake(self) -> None:
        self.woken += 1


@in_virtual_time
async def test_streams_are_counted_and_bounded() -> None:
    streams = OpenStreams(2, Metrics("0"))
    await streams.wait_empty()
    with streams.admitted(Stream()):
        with streams.admitted(Stream()):
            with pytest.raises(UnavailableError), streams.admitted(Stream()):
                pass
            assert len(streams) == 2
        emptied = asyncio.ensure_future(streams.wait_empty())
        await quiet()
        assert not emptied.done()
        with streams.admitted(Stream()):
            assert len(streams) == 2
    await emptied


@in_virtual_time
async def test_streams_are_sent_away() -> None:
    streams, one = OpenStreams(2, Metrics("0")), Stream()
    with streams.admitted(one):
        emptied = asyncio.ensure_future(streams.wait_empty())
        streams.draining = True
        with pytest.raises(UnavailableError), streams.admitted(Stream()):
            pass
        assert one.woken == 0
        streams.close()
        streams.close()
        assert (one.woken > 0, streams.closing) == (True, True)
        await quiet()
        assert not emptied.done()
    await emptied
