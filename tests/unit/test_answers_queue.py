"""The answers of one process wait for each other within a conversation, and only there."""

from __future__ import annotations

import asyncio

import pytest

from chatserver.errors import NotFoundError, UnavailableError, ValidationError
from chatserver.live.answers import STOP_FOR_DELETE_SECONDS
from chatserver.live.following import POLL_SECONDS
from chatserver.live.steps import Interrupt
from chatserver.live.store import PERSIST_SECONDS
from tests.kit.processes import (
    ELSEWHERE,
    FIRST,
    GRACE_SECONDS,
    SECOND,
    STOP,
    THIRD,
    Client,
    clients,
    run_of,
    world,
)
from tests.kit.virtual_time import in_virtual_time, now, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


# --- the line of a conversation ---------------------------------------------------------------------------


@in_virtual_time
async def test_answers_of_a_conversation_are_generated_one_after_the_other() -> None:
    async with world() as w:
        process = w.process()
        line = await clients(process, FIRST, SECOND, THIRD)
        assert process.keys() == [FIRST, SECOND, THIRD]
        for number, client in enumerate(line):
            assert w.database.statuses() == ["completed"] * number + ["active"]
            w.model.say(f"answer {number}", STOP)
            await client.rest()
            await quiet()
            assert (client.text, client.end, client.resets) == (f"answer {number}", "done", 0)
        assert w.model.generations == 3
        assert process.keys() == []


@in_virtual_time
async def test_conversations_do_not_wait_for_each_other() -> None:
    async with world() as w:
        one, other = await clients(w.process(), FIRST, ELSEWHERE)
        assert w.model.open == 2
        w.model.say(STOP, "a", STOP)
        await asyncio.gather(one.rest(), other.rest())
        assert {one.end, other.end} == {"done", "bad_response"}


@in_virtual_time
async def test_queued_client_that_leaves_loses_its_place_at_once() -> None:
    async with world() as w:
        process = w.process()
        first, second, third = await clients(process, FIRST, SECOND, THIRD)
        second.leave()
        await quiet()
        assert process.keys() == [FIRST, THIRD]
        w.model.say("a", STOP, "c", STOP)
        await asyncio.gather(first.rest(), third.rest())
        assert (third.text, w.model.generations, w.database.statuses()) == ("c", 2, ["completed"] * 2)


@in_virtual_time
async def test_queued_client_that_comes_back_keeps_the_event_id() -> None:
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
async def test_answer_whose_turn_has_come_has_the_grace_period() -> None:
    async with world() as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        w.model.say("a", STOP, "b")
        await asyncio.gather(first.rest(), second.until_text("b"))
        second.leave()
        await asyncio.sleep(GRACE_SECONDS / 2)
        await second.open(process, SECOND)
        w.model.say("c", STOP)
        await second.rest()
        assert (second.text, second.resets, w.model.generations) == ("bc", 0, 2)


@in_virtual_time
async def test_interrupting_client_comes_before_those_that_wait() -> None:
    async with world() as w:
        process = w.process()
        first, third = await clients(process, FIRST, THIRD)
        second = Client()
        await second.open(process, SECOND, when_busy="interrupt")
        assert process.keys() == [FIRST, SECOND, THIRD]
        w.model.say("b", STOP, "c", STOP)
        await asyncio.gather(first.rest(), second.rest(), third.rest())
        assert (first.end, third.text, w.database.answers()) == ("stopped", "c", ["b", "c"])


@pytest.mark.parametrize("keep", [False, True])
@in_virtual_time
async def test_interrupted_answer_makes_way_for_the_next(keep: bool) -> None:
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
async def test_claim_is_given_back_when_all_readers_left_during_it() -> None:
    """A claim is not interrupted. What it claimed is given back."""
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
async def test_client_that_comes_while_a_claim_is_given_back_gets_the_answer() -> None:
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
async def test_stop_waits_for_a_claim_that_is_under_way() -> None:
    async with world() as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        hold = process.store.hold("claim")
        w.model.say("a", STOP)
        await first.rest()
        await hold.entered.wait()

        stopping = asyncio.ensure_future(process.answers.stop(None, SECOND.conversation_id, keep=False))
        await quiet()
        hold.release()
        assert await stopping
        await second.rest()
        assert (second.end, w.database.statuses()) == ("stopped", ["completed", "stopped"])


@in_virtual_time
async def test_queue_waits_for_a_conversation_that_is_busy_in_another_process() -> None:
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
        assert now() - ended <= POLL_SECONDS + 0.1


@in_virtual_time
async def test_client_leaves_a_conversation_that_is_busy_in_another_process() -> None:
    async with world() as w:
        here, there = w.process(), w.process()
        (first,) = await clients(there, FIRST)
        second, third = await clients(here, SECOND, THIRD)
        here.store.away = True
        second.leave()
        await quiet()
        assert here.keys() == [THIRD], "nothing of it has to be written down"
        here.store.away = False
        w.model.say("a", STOP, "c", STOP)
        await asyncio.gather(first.rest(), third.rest())
        assert third.text == "c"


# --- claims -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waited_seconds", [0.0, 2 * PERSIST_SECONDS])
@in_virtual_time
async def test_claim_is_repeated_until_the_database_is_back(waited_seconds: float) -> None:
    """However long the run waited for its turn before."""
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
        await asyncio.sleep(PERSIST_SECONDS - 2)
        w.database.away = False
        back = now()
        w.model.say("b", STOP)
        await second.rest()
        assert now() - back < 2
        assert (second.text, second.end) == ("b", "done")


@in_virtual_time
async def test_claim_that_fails_for_a_minute_is_an_error() -> None:
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
        assert now() - began == pytest.approx(PERSIST_SECONDS, abs=1)
        assert (second.end, second.ends[0]["retryable"]) == ("unavailable", True)
        w.database.away = False


@in_virtual_time
async def test_short_absences_far_apart_do_not_add_up() -> None:
    async with world() as w:
        here, there = w.process(), w.process()
        (first,) = await clients(there, FIRST)
        (second,) = await clients(here, SECOND)
        for _ in range(4):
            here.store.away = True
            await asyncio.sleep(PERSIST_SECONDS / 2)
            here.store.away = False
            await asyncio.sleep(2)
        w.model.say("a", STOP, "b", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (second.text, second.end) == ("b", "done")


@in_virtual_time
async def test_claim_with_a_lost_confirmation_is_repeated() -> None:
    async with world() as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        process.store.lose["claim"] = 1
        w.model.say("a", STOP, "b", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (second.text, second.end) == ("b", "done")
        assert now() <= 2 * POLL_SECONDS, "not a whole lease"


@pytest.mark.parametrize(
    ("refusal", "end"),
    [
        (NotFoundError("Message not found"), "stopped"),
        (ValidationError(), "stopped"),
        (UnavailableError("The provider of this agent is not configured"), "unavailable"),
    ],
)
@in_virtual_time
async def test_queued_answer_that_is_refused_at_its_turn_ends(refusal: Exception, end: str) -> None:
    async with world() as w:
        first, second = await clients(w.process(), FIRST, SECOND)
        w.database.refusal = refusal
        w.model.say("a", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (first.end, second.end) == ("done", end)
        assert w.processes[0].keys() == []


@in_virtual_time
async def test_answers_of_a_deleted_conversation_end_stopped() -> None:
    async with world() as w:
        first, second = await clients(w.process(), FIRST, SECOND)
        w.database.deleted.add(FIRST.conversation_id)
        w.model.say("a", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (first.end, second.end, w.database.answers()) == ("stopped", "stopped", [])


@in_virtual_time
async def test_stop_of_a_deleted_conversation_neither_fails_nor_waits_for_the_database() -> None:
    async with world() as w:
        (client,) = await clients(w.process(), FIRST)
        w.database.deleted.add(FIRST.conversation_id)
        w.database.away = True
        asked = now()
        await w.processes[0].answers.stop_for_delete(FIRST.conversation_id)
        await w.processes[0].answers.stop_for_delete(ELSEWHERE.conversation_id)
        assert now() - asked <= STOP_FOR_DELETE_SECONDS
        w.database.away = False
        await client.rest()
        assert (client.end, w.database.statuses()) == ("stopped", ["stopped"])


@in_virtual_time
async def test_answer_that_another_process_stored_meanwhile_is_shown() -> None:
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
async def test_no_run_is_begun_beyond_max_runs() -> None:
    async with world(max_runs=2) as w:
        process = w.process()
        first, second = await clients(process, FIRST, SECOND)
        assert not process.answers.accepts_runs
        with pytest.raises(UnavailableError):
            await clients(process, THIRD)
        (joined,) = await clients(process, FIRST)
        w.model.say("a", STOP)
        await asyncio.gather(first.rest(), joined.rest())
        assert process.answers.accepts_runs
        w.model.say("b", STOP, "c", STOP)
        (third,) = await clients(process, THIRD)
        await asyncio.gather(second.rest(), third.rest())


@in_virtual_time
async def test_answers_of_other_processes_are_followed_within_max_runs_only() -> None:
    async with world() as w:
        owner, follower = w.process(), w.process(max_runs=1)
        own = await clients(owner, FIRST, ELSEWHERE)
        (following,) = await clients(follower, FIRST)
        with pytest.raises(UnavailableError):
            await clients(follower, ELSEWHERE)
        (joined,) = await clients(follower, FIRST)
        assert follower.keys() == [FIRST]
        w.model.say("a", STOP, "b", STOP)
        await asyncio.gather(*(client.rest() for client in (*own, following, joined)))


@in_virtual_time
async def test_no_run_is_begun_while_draining() -> None:
    async with world() as w:
        process = w.process()
        process.answers.draining = True
        assert not process.answers.accepts_runs
