"""One answer in the making, in virtual time: it is generated as long as somebody wants it."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from chatserver.ids import uuid7
from chatserver.live.generation import DELTAS_PER_TURN
from chatserver.live.leases import HEARTBEAT_SECONDS
from chatserver.live.outcomes import NOBODY, Claimed
from chatserver.live.queue import ConversationQueue
from chatserver.live.run import Run
from chatserver.live.steps import Generate
from chatserver.providers.base import Finish, ReasoningDelta, TextDelta, Usage
from tests.kit.processes import (
    FIRST,
    GRACE_SECONDS,
    STOP,
    ended_runs,
    reader_of,
    run_of,
    world,
)
from tests.kit.virtual_time import in_virtual_time, now, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


# --- the plain case ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_answer_is_generated_committed_and_ended() -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("Hello", ReasoningDelta("hm"), " world", Finish("length", Usage(3, 5)))
        await client.rest()
        (row,) = w.database.rows.values()
        assert row.answer is not None
        assert (client.text, client.thoughts, client.resets) == ("Hello world", "hm", 0)
        assert client.ends == [
            {
                "type": "done",
                "messageId": str(row.answer.new.message_id),
                "usage": {"inputTokens": 3, "outputTokens": 5},
                "stopReason": "length",
            }
        ]
        assert (row.status, row.answer.new.text, row.answer.new.usage) == ("completed", "Hello world", Usage(3, 5))
        assert (w.model.open, process.keys(), run_of(client).owned) == (0, [], False)
        assert ended_runs(process) == {"done": 1}


@in_virtual_time
async def test_model_duration_and_thinking_are_stored_with_the_answer() -> None:
    """The duration ends with the answer, not when it is stored."""
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say(ReasoningDelta("h"))
        await asyncio.sleep(2)
        w.model.say(ReasoningDelta("m"), "a")
        await asyncio.sleep(1)
        w.model.say(ReasoningDelta("!"))
        await asyncio.sleep(0.5)
        w.database.away = True
        w.model.say(STOP)
        await asyncio.sleep(5)
        w.database.away = False
        await client.rest()
        (row,) = w.database.rows.values()
        assert row.answer is not None
        new = row.answer.new
        assert (new.text, new.model, new.stop_reason, new.reasoning) == ("a", "the model", "stop", "hm!")
        assert new.duration_ms == pytest.approx(3_500, abs=100)
        assert new.reasoning_ms == pytest.approx(2_500, abs=100)


@in_virtual_time
async def test_model_that_the_agent_names_is_the_one_that_answered() -> None:
    async with world() as w:
        w.model.model = "its own"
        w.database.prompt_model = "the agent's"
        client = await reader_of(w.process())
        w.model.say("a", STOP)
        await client.rest()
        (row,) = w.database.rows.values()
        assert row.answer is not None
        assert (row.answer.new.model, row.answer.new.reasoning) == ("the agent's", None)


@in_virtual_time
async def test_done_is_sent_after_the_commit() -> None:
    async with world() as w:
        process = w.process()
        hold = process.store.hold("commit")
        client = await reader_of(process)
        w.model.say("a", STOP)
        await hold.entered.wait()
        await quiet()
        client.read()
        assert (client.text, client.ends, w.database.answers()) == ("a", [], [])
        hold.release()
        await client.rest()
        assert (client.end, w.database.answers()) == ("done", ["a"])


@in_virtual_time
async def test_readers_see_the_same_answer_whenever_they_join() -> None:
    async with world() as w:
        process = w.process()
        first = await reader_of(process)
        w.model.say("a")
        await first.until_text("a")
        second = await reader_of(process)
        w.model.say("b")
        await second.until_text("ab")
        w.model.say(STOP)
        await asyncio.gather(first.rest(), second.rest())
        third = await reader_of(process)
        await third.rest()
        assert first.text == second.text == third.text == "ab"
        assert first.ends == second.ends == third.ends
        assert w.model.generations == 1


@in_virtual_time
async def test_generation_of_ready_deltas_leaves_readers_their_turn() -> None:
    async with world(max_answer_chars=10_000) as w:
        client = await reader_of(w.process())
        await quiet()
        w.model.say([TextDelta("x")] * (10 * DELTAS_PER_TURN), STOP)
        most = 0
        while not run_of(client).journal.ended:
            await asyncio.sleep(0)
            assert client.reader is not None
            while frames := client.reader.take():
                most = max(most, len(frames))
        assert most <= DELTAS_PER_TURN + 1


@in_virtual_time
async def test_finished_answer_is_freed_when_its_readers_leave() -> None:
    """A timer that still ran would hold all its frames."""
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a", STOP)
        await client.until(lambda: bool(client.ends))
        journal = weakref.ref(run_of(client).journal)
        client.leave()
        client.run = None
        await asyncio.sleep(2 * HEARTBEAT_SECONDS)
        gc.collect()
        assert journal() is None


# --- demand -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_nothing_is_taken_from_the_model_while_nobody_reads() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a", "b")
        await client.until_text("ab")
        client.leave()
        w.model.say("c", "d", "e")
        await asyncio.sleep(GRACE_SECONDS / 2)
        assert w.model.given <= 3, "more than the one that was asked for already"
        assert w.model.open == 1
        await client.open(w.processes[0], FIRST)
        await client.until_text("abcde")
        assert (client.resets, w.model.generations) == (0, 1)
        w.model.say(STOP)
        await client.rest()
        assert w.database.answers() == ["abcde"]


@in_virtual_time
async def test_reader_of_a_moment_has_nothing_taken_from_the_model() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        client.leave()
        w.model.say("b", "c", "d")
        await quiet()
        for _ in range(3):
            run_of(client).join().close()
            await quiet()
        assert (run_of(client).journal.text, w.model.given) == ("a", 2)


@in_virtual_time
async def test_run_without_a_reader_asks_the_model_for_nothing() -> None:
    async with world() as w:
        process = w.process()
        outcome = await process.store.claim(FIRST, uuid7())
        assert isinstance(outcome, Claimed)
        queue: ConversationQueue[Run] = ConversationQueue()
        run = Run(FIRST, Generate(outcome), queue, process.context, askers=NOBODY)
        queue.add(run)
        running = asyncio.create_task(run.run())
        w.model.say("a", STOP)
        await asyncio.sleep(3)
        assert (w.model.generations, run.wanted) == (0, False)
        reader = run.join()
        await running
        assert w.database.answers() == ["a"]
        reader.close()


@in_virtual_time
async def test_answer_goes_on_when_one_of_two_readers_leaves() -> None:
    async with world(grace_seconds=0) as w:
        one, other = await reader_of(w.process()), await reader_of(w.processes[0])
        w.model.say("a")
        await one.until_text("a")
        one.leave()
        one.leave()
        w.model.say("b", STOP)
        await other.rest()
        assert (other.text, other.end) == ("ab", "done")


@in_virtual_time
async def test_without_grace_the_last_reader_to_leave_ends_the_answer() -> None:
    async with world(grace_seconds=0) as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        left = now()
        client.leave()
        await run_of(client).wait_settled()
        assert now() - left < 0.01
        assert (w.model.open, w.database.answers(), w.database.statuses()) == (0, [], ["dropped"])
        assert not run_of(client).journal.ended
        assert ended_runs(w.processes[0]) == {"dropped": 1}


@in_virtual_time
async def test_answer_is_dropped_when_the_grace_is_over() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        left = now()
        client.leave()
        await run_of(client).wait_settled()
        assert now() - left == pytest.approx(GRACE_SECONDS, abs=0.01)
        assert (w.model.open, w.database.answers(), w.database.statuses()) == (0, [], ["dropped"])


@in_virtual_time
async def test_reader_back_within_the_grace_resumes_and_the_grace_begins_anew() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        for number in range(5):
            w.model.say("x")
            await client.until_text("x" * (number + 1))
            client.leave()
            await asyncio.sleep(GRACE_SECONDS - 0.1)
            await client.open(w.processes[0], FIRST)
        await asyncio.sleep(2 * GRACE_SECONDS)
        w.model.say(STOP)
        await client.rest()
        assert (client.text, client.resets, w.model.generations, client.end) == ("xxxxx", 0, 1, "done")


@in_virtual_time
async def test_reader_back_after_the_grace_gets_a_reset_and_a_new_answer() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("old")
        await client.until_text("old")
        client.leave()
        await asyncio.sleep(GRACE_SECONDS + 0.1)
        await client.open(w.processes[0], FIRST)
        w.model.say("new", STOP)
        await client.rest()
        assert (client.text, client.resets, client.end) == ("new", 1, "done")
        assert w.database.statuses() == ["dropped", "completed"]


@in_virtual_time
async def test_reader_that_comes_during_the_drop_gets_a_new_answer() -> None:
    async with world(grace_seconds=0) as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("old")
        await client.until_text("old")
        w.model.closing_seconds = 3.0
        client.leave()
        assert not run_of(client).joinable
        await client.open(process, FIRST)
        assert (w.model.open, now()) == (0, pytest.approx(3, abs=0.1))
        w.model.say("new", STOP)
        await client.rest()
        assert (client.text, client.resets) == ("new", 1)


@in_virtual_time
async def test_continuing_answer_needs_no_reader() -> None:
    async with world(grace_seconds=0) as w:
        client = await reader_of(w.process(), continues=True)
        client.leave()
        w.model.say("a", "b", STOP)
        await run_of(client).wait_settled()
        assert w.database.answers() == ["ab"]


@in_virtual_time
async def test_later_reader_can_have_the_answer_continue() -> None:
    async with world(grace_seconds=0) as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        other = await reader_of(w.processes[0], continues=True)
        client.leave()
        other.leave()
        w.model.say("b", STOP)
        await run_of(client).wait_settled()
        assert w.database.answers() == ["ab"]


@in_virtual_time
async def test_drop_ends_only_an_answer_that_nobody_reads() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        run = run_of(client)
        await run.drop()
        assert run.joinable
        client.leave()
        await run.drop()
        assert run.outcome == "dropped"
        assert (w.model.open, w.database.statuses()) == (0, ["dropped"])
        await run.drop()
        assert run.outcome == "dropped", "a second drop changes nothing"
