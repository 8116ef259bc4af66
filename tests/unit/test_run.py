"""One answer in the making, in virtual time: who wants it, where it comes from, how it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any, get_args

import pytest

from chatserver.errors import RETRYABLE, ErrorCode, ProviderError
from chatserver.ids import uuid7
from chatserver.live.generation import DELTAS_PER_TURN
from chatserver.live.persistence import COMMIT_SECONDS, LONGEST_RETRY_SECONDS
from chatserver.live.registry import HEARTBEAT_SECONDS
from chatserver.live.run import RESTARTS, Interrupt, Run
from chatserver.live.store import Claimed
from chatserver.providers.base import Finish, ReasoningDelta, TextDelta, Usage
from tests.unit.memory_store import LEASE_SECONDS
from tests.unit.processes import GRACE_SECONDS, MAX_ANSWER_CHARS, STOP, Client, Process, World, key, world
from tests.unit.virtual_time import in_virtual_time, now, quiet

KEY = key()


@pytest.fixture(autouse=True)
def _no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Any:
    """A test that expects one clears the log."""
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


async def reader_of(process: Process, *, continues: bool = False) -> Client:
    client = Client()
    await client.open(process, KEY, continues=continues)
    return client


def run_of(client: Client) -> Run:
    assert client.run is not None
    return client.run


def hang_up() -> ProviderError:
    return ProviderError("interrupted", "The model broke off its answer")


def ended_runs(process: Process) -> dict[str, float]:
    """How many runs were counted, by outcome."""
    samples = (sample for metric in process.metrics.registry.collect() for sample in metric.samples)
    return {
        sample.labels["outcome"]: sample.value
        for sample in samples
        if sample.name == "chatserver_runs_ended_total" and sample.value
    }


# --- the plain case ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_answer_is_generated_committed_and_ended() -> None:
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
                "messageId": str(row.answer.message_id),
                "usage": {"inputTokens": 3, "outputTokens": 5},
                "stopReason": "length",
            }
        ]
        assert (row.status, row.answer.text, row.answer.usage) == ("completed", "Hello world", Usage(3, 5))
        assert (w.model.open, list(process.registry), run_of(client).owned) == (0, [], False)
        assert ended_runs(process) == {"done": 1}


@in_virtual_time
async def test_the_commit_comes_before_done() -> None:
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
async def test_all_readers_see_the_same_whenever_they_come() -> None:
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
async def test_deltas_that_are_ready_at_once_leave_others_their_turn() -> None:
    async with world(max_answer_chars=10_000) as w:
        client = await reader_of(w.process())
        await quiet()
        w.model.say(*["x"] * (10 * DELTAS_PER_TURN), STOP)
        most = 0
        while not run_of(client).journal.ended:
            await asyncio.sleep(0)
            assert client.reader is not None
            while frames := client.reader.take():
                most = max(most, len(frames))
        assert most <= DELTAS_PER_TURN + 1


@in_virtual_time
async def test_a_finished_answer_is_let_go_of_when_its_readers_leave() -> None:
    """By the loop, too: a timer that still runs would hold all its frames."""
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
async def test_nothing_is_taken_while_nobody_reads() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a", "b")
        await client.until_text("ab")
        client.leave()
        w.model.say("c", "d", "e")
        await asyncio.sleep(GRACE_SECONDS / 2)
        assert w.model.given <= 3, "more than the one that was asked for already"
        assert w.model.open == 1
        await client.open(w.processes[0], KEY)
        await client.until_text("abcde")
        assert (client.resets, w.model.generations) == (0, 1)
        w.model.say(STOP)
        await client.rest()
        assert w.database.answers() == ["abcde"]


@in_virtual_time
async def test_a_run_that_nobody_has_joined_asks_for_nothing() -> None:
    async with world() as w:
        process = w.process()
        outcome = await process.store.claim(KEY, uuid7(), continues=False)
        assert isinstance(outcome, Claimed)
        run = process.registry.add(KEY, outcome, continues=False)
        w.model.say("a", STOP)
        await asyncio.sleep(3)
        assert (w.model.generations, run.wanted) == (0, False)
        client = await reader_of(process)
        await client.rest()
        assert client.text == "a"


@in_virtual_time
async def test_one_of_two_readers_leaves() -> None:
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
async def test_without_grace_the_last_to_leave_ends_it_at_once() -> None:
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
async def test_the_grace_is_as_long_as_it_is() -> None:
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
async def test_who_is_back_within_the_grace_goes_on_and_the_grace_begins_anew() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        for number in range(5):
            w.model.say("x")
            await client.until_text("x" * (number + 1))
            client.leave()
            await asyncio.sleep(GRACE_SECONDS - 0.1)
            await client.open(w.processes[0], KEY)
        await asyncio.sleep(2 * GRACE_SECONDS)
        w.model.say(STOP)
        await client.rest()
        assert (client.text, client.resets, w.model.generations, client.end) == ("xxxxx", 0, 1, "done")


@in_virtual_time
async def test_who_is_back_after_the_grace_gets_a_reset_and_the_whole() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("old")
        await client.until_text("old")
        client.leave()
        await asyncio.sleep(GRACE_SECONDS + 0.1)
        await client.open(w.processes[0], KEY)
        w.model.say("new", STOP)
        await client.rest()
        assert (client.text, client.resets, client.end) == ("new", 1, "done")
        assert w.database.statuses() == ["dropped", "completed"]


@in_virtual_time
async def test_who_comes_while_it_is_being_dropped_waits_and_has_it_made_anew() -> None:
    async with world(grace_seconds=0) as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("old")
        await client.until_text("old")
        w.model.closing_seconds = 3.0
        client.leave()
        assert not run_of(client).joinable
        await client.open(process, KEY)
        assert (w.model.open, now()) == (0, pytest.approx(3, abs=0.1))
        w.model.say("new", STOP)
        await client.rest()
        assert (client.text, client.resets) == ("new", 1)


@in_virtual_time
async def test_an_answer_that_continues_needs_no_reader() -> None:
    async with world(grace_seconds=0) as w:
        client = await reader_of(w.process(), continues=True)
        client.leave()
        w.model.say("a", "b", STOP)
        await run_of(client).wait_settled()
        assert w.database.answers() == ["ab"]


@in_virtual_time
async def test_a_later_reader_can_have_it_continue() -> None:
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
async def test_drop_ends_only_what_nobody_reads() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        run = run_of(client)
        assert not await run.drop()
        client.leave()
        assert await run.drop()
        assert (w.model.open, w.database.statuses()) == (0, ["dropped"])
        assert await run.drop(), "it is dropped still"


# --- the model hangs up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["interrupted", "unavailable", "timeout"])
@in_virtual_time
async def test_a_hang_up_in_a_pause_is_a_new_try(code: ErrorCode) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        other = Client()
        w.model.say("old ")
        await client.until_text("old ")
        client.leave()
        await quiet()
        w.model.say(ProviderError(code, "gone"))
        await asyncio.sleep(GRACE_SECONDS / 2)
        assert (w.model.generations, w.model.open) == (1, 0), "it is asked anew only when somebody reads"
        await client.open(w.processes[0], KEY)
        await other.open(w.processes[0], KEY)
        w.model.say("new", STOP)
        await asyncio.gather(client.rest(), other.rest())
        assert (client.text, client.resets, client.end) == ("new", 1, "done")
        assert (other.text, other.end) == ("new", "done")
        (row,) = w.database.rows.values()
        assert (row.epoch, row.status) == (2, "completed")
        resumed = Client()
        resumed.source.last_event_id = str(client.last_id).replace(".end", ".3.2")
        resumed.text = "ne"
        await resumed.open(w.processes[0], KEY)
        await resumed.rest()
        assert (resumed.text, resumed.resets) == ("new", 0)


@in_virtual_time
async def test_a_hang_up_in_a_pause_that_stays_one() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("old")
        await client.until_text("old")
        client.leave()
        await quiet()
        w.model.say(hang_up())
        await run_of(client).wait_settled()
        assert (now(), w.model.generations) == (pytest.approx(GRACE_SECONDS, abs=0.1), 1)
        assert [(row.status, row.epoch) for row in w.database.rows.values()] == [("dropped", 1)]


@in_virtual_time
async def test_a_model_that_always_hangs_up_in_pauses_is_an_error_in_the_end() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        for attempt in range(RESTARTS + 1):
            w.model.say(f"try {attempt}")
            await client.until_text(f"try {attempt}")
            client.leave()
            await quiet()
            w.model.say(hang_up())
            await quiet()
            await client.open(w.processes[0], KEY)
        await client.rest()
        assert (client.end, w.model.generations) == ("interrupted", RESTARTS + 1)


@in_virtual_time
async def test_a_hang_up_while_somebody_reads_is_an_error() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        client.leave()
        await client.open(w.processes[0], KEY)
        w.model.say("b")
        await client.until_text("ab")
        w.model.say(hang_up())
        await client.rest()
        assert (client.end, w.database.answers(), w.model.generations) == ("interrupted", [], 1)


@in_virtual_time
async def test_other_errors_in_a_pause_are_errors() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        client.leave()
        await quiet()
        w.model.say(ProviderError("unauthorized", "The key is refused"))
        await client.open(w.processes[0], KEY)
        await client.rest()
        assert client.end == "unauthorized"


@pytest.mark.parametrize("how", ["away", "the confirmation is lost"])
@in_virtual_time
async def test_the_new_try_waits_for_the_database(how: str) -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("old")
        await client.until_text("old")
        client.leave()
        await quiet()
        w.model.say(hang_up())
        await quiet()
        if how == "away":
            w.database.away = True
            asyncio.get_running_loop().call_later(5, lambda: setattr(w.database, "away", False))
        else:
            process.store.lose["next_epoch"] = 1
        await client.open(process, KEY)
        w.model.say("new", STOP)
        await client.rest()
        assert now() < LEASE_SECONDS + 5
        assert (client.text, client.end, w.database.answers()) == ("new", "done", ["new"])


@pytest.mark.parametrize("how", ["leave", "stop"])
@in_virtual_time
async def test_an_end_while_it_is_begun_anew_is_written_down(how: str) -> None:
    """Under the epoch that it then has: else the conversation were busy until the lease is over."""
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("old")
        await client.until_text("old")
        client.leave()
        await quiet()
        w.model.say(hang_up())
        hold = process.store.hold("next_epoch")
        await client.open(process, KEY)
        await hold.entered.wait()
        if how == "leave":
            client.leave()
            await asyncio.sleep(2 * GRACE_SECONDS)
            hold.release()
            await run_of(client).wait_settled()
        else:
            stopping = asyncio.ensure_future(run_of(client).stop(keep=False))
            await quiet()
            hold.release()
            assert await stopping
            await client.rest()
            assert client.end == "stopped"
        assert w.database.statuses() == ["dropped" if how == "leave" else "stopped"]
        assert w.model.generations == 1


# --- stop -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_stop_ends_it_for_all_and_stores_nothing() -> None:
    async with world() as w:
        process = w.process()
        one, other = await reader_of(process), await reader_of(process)
        w.model.say("a")
        await one.until_text("a")
        assert await run_of(one).stop(keep=False)
        await asyncio.gather(one.rest(), other.rest())
        assert one.ends == other.ends == [{"type": "stopped", "messageId": None}]
        assert (w.database.answers(), w.database.statuses()) == ([], ["stopped"])
        assert ended_runs(process) == {"stopped": 1}


@in_virtual_time
async def test_stop_returns_when_the_models_connection_is_closed() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        w.model.closing_seconds = 2.0
        assert await run_of(client).stop(keep=False)
        assert (w.model.open, now()) == (0, pytest.approx(2, abs=0.1))


@in_virtual_time
async def test_stop_and_keep() -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("a", ReasoningDelta("hm"), "b")
        await client.until_text("ab")
        assert await run_of(client).stop(keep=True)
        await client.rest()
        (row,) = w.database.rows.values()
        assert row.answer is not None
        assert client.ends == [{"type": "stopped", "messageId": str(row.answer.message_id)}]
        assert (row.status, row.answer.text, row.answer.usage) == ("kept", "ab", None)
        again = Client()
        await again.open(process, KEY)
        await again.rest()
        assert (again.text, again.ends, w.model.generations) == ("ab", client.ends, 1)


@pytest.mark.parametrize("shown", [[], [ReasoningDelta("hm")], [" \n"]], ids=["nothing", "thoughts", "white space"])
@in_virtual_time
async def test_stop_and_keep_with_nothing_to_keep(shown: list[Any]) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say(*shown)
        await quiet()
        assert await run_of(client).stop(keep=True)
        await client.rest()
        assert client.ends == [{"type": "stopped", "messageId": None}]
        assert (w.database.answers(), w.database.statuses()) == ([], ["stopped"])


@pytest.mark.parametrize("keep", [False, True])
@in_virtual_time
async def test_stop_while_nobody_reads(keep: bool) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        client.leave()
        assert await run_of(client).stop(keep=keep)
        assert w.database.statuses() == ["kept" if keep else "stopped"]
        await client.open(w.processes[0], KEY)
        await client.rest()
        assert (client.text, client.end, client.resets) == ("a", "stopped", 0)


@pytest.mark.parametrize("keep", [False, True])
@in_virtual_time
async def test_stop_comes_too_late_while_it_is_committed(keep: bool) -> None:
    async with world() as w:
        process = w.process()
        hold = process.store.hold("commit")
        client = await reader_of(process)
        w.model.say("a", STOP)
        await hold.entered.wait()
        stopping = asyncio.ensure_future(run_of(client).stop(keep=keep))
        await quiet()
        assert not stopping.done()
        late = await reader_of(process)  # who comes now need not wait
        hold.release()
        assert not await stopping
        await late.rest()
        assert (late.text, late.end) == ("a", "done")
        await client.rest()
        assert (client.end, w.database.statuses()) == ("done", ["completed"])


@in_virtual_time
async def test_two_stops_are_one() -> None:
    """The first says what is kept."""
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        run = run_of(client)
        assert await asyncio.gather(run.stop(keep=True), run.stop(keep=False)) == [True, True]
        assert await run.stop(keep=False)
        await client.rest()
        assert (client.end, w.database.statuses()) == ("stopped", ["kept"])


@in_virtual_time
async def test_who_comes_while_it_is_stopped_sees_its_end() -> None:
    """With an id of the run; without one it is made anew."""
    async with world() as w:
        process = w.process()
        client, late = await reader_of(process), Client()
        w.model.say("a")
        await client.until_text("a")
        client.leave()
        w.model.closing_seconds = 1.0
        stopping = asyncio.ensure_future(run_of(client).stop(keep=False))
        await quiet()
        await asyncio.gather(client.open(process, KEY), late.open(process, KEY))
        assert await stopping
        await client.rest()
        assert (client.text, client.end) == ("a", "stopped")
        w.model.say("b", STOP)
        await late.rest()
        assert (late.text, late.end) == ("b", "done")


@in_virtual_time
async def test_all_leave_while_it_is_committed() -> None:
    """Too late to drop it: the answer is whole."""
    async with world(grace_seconds=0) as w:
        process = w.process()
        hold = process.store.hold("commit")
        client = await reader_of(process)
        w.model.say("a", STOP)
        await hold.entered.wait()
        client.leave()
        late = await reader_of(process)
        late.leave()
        hold.release()
        await run_of(client).wait_settled()
        assert w.database.answers() == ["a"]
        await client.open(process, KEY)
        await client.rest()
        assert (client.text, client.end, client.resets) == ("a", "done", 0)


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", get_args(ErrorCode))
@in_virtual_time
async def test_what_a_model_reports_is_told(code: ErrorCode) -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("a", ProviderError(code, "Said for clients"))
        await client.rest()
        assert client.ends == [
            {"type": "error", "error": "Said for clients", "code": code, "retryable": code in RETRYABLE}
        ]
        (row,) = w.database.rows.values()
        assert (row.status, row.code, row.message, row.answer) == ("failed", code, "Said for clients", None)
        assert (w.model.open, ended_runs(process)) == (0, {"error": 1})
        w.model.say("b", STOP)
        again = Client()
        await again.open(process, KEY)
        await again.rest()
        assert (again.text, again.end) == ("b", "done"), "asked again, it is made anew"


@pytest.mark.parametrize(
    "nonsense",
    [
        ValueError("secret"),
        KeyError("secret"),
        RuntimeError("secret"),
        OSError("secret"),
        StopIteration("secret"),
        StopAsyncIteration("secret"),
        AssertionError("secret"),
        RecursionError("secret"),
        TimeoutError("secret"),
        ProviderError("bad_response", "\ud800"),
    ],
    ids=lambda error: type(error).__name__,
)
@in_virtual_time
async def test_a_model_that_breaks_its_promise(nonsense: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a", nonsense)
        await client.rest()
        assert client.end == "internal"
        assert "secret" not in str(client.ends)
        assert w.model.open == 0
        (row,) = w.database.rows.values()
        assert (row.status, row.code) == ("failed", "internal")
        assert "secret" not in (row.message or "")
    assert sum(record.levelno >= logging.ERROR for record in caplog.records) == 1
    caplog.clear()


@in_virtual_time
async def test_a_model_that_cancels_itself() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a", asyncio.CancelledError())
        await client.rest()
        assert (client.end, w.model.open) == ("internal", 0)


@in_virtual_time
async def test_a_model_that_fails_to_close_can_be_stopped() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        w.model.closing_error = RuntimeError("cannot close")
        assert await run_of(client).stop(keep=True)
        await client.rest()
        assert (client.end, w.database.answers()) == ("stopped", ["a"])


@in_virtual_time
async def test_an_answer_that_just_ends_was_broken_off() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a", None)
        await client.rest()
        assert (client.end, w.database.statuses()) == ("interrupted", ["failed"])


@pytest.mark.parametrize("said", [[], [ReasoningDelta("hm")], [""], ["\0", "\0"]])
@in_virtual_time
async def test_an_empty_answer_is_an_error(said: list[Any]) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say(*said, STOP)
        await client.rest()
        assert (client.end, client.text, w.database.answers()) == ("bad_response", "", [])


@pytest.mark.parametrize("delta", [TextDelta("xx"), ReasoningDelta("xx")], ids=["text", "thoughts"])
@in_virtual_time
async def test_an_answer_that_is_too_long(delta: Any) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say(*[delta] * MAX_ANSWER_CHARS, STOP)
        await client.rest()
        assert (client.end, w.database.answers(), w.model.open) == ("answer_too_long", [], 0)
        assert w.model.given == MAX_ANSWER_CHARS // 2 + 1


@in_virtual_time
async def test_an_answer_may_be_as_long_as_the_limit() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("x" * (MAX_ANSWER_CHARS - 1), ReasoningDelta("y" * MAX_ANSWER_CHARS), "x", STOP)
        await client.rest()
        assert (client.end, len(client.text)) == ("done", MAX_ANSWER_CHARS)


@in_virtual_time
async def test_text_is_cleaned() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a\0", "\ud83d", "\ude00", "\udc00b", "\ud800")
        w.model.say(ReasoningDelta("\ud83d"), ReasoningDelta("\ude00\0"), STOP)
        await client.rest()
        assert (client.end, client.text) == ("done", "a😀\ufffdb\ufffd")
        assert client.thoughts == "😀"
        assert w.database.answers() == [client.text]


@pytest.mark.parametrize(
    "finish",
    [
        Finish("\ud83d\0own word"),
        Finish("x" * 100_000),
        Finish("stop", Usage(2**31, 1)),
        Finish("stop", Usage(1, -1)),
        Finish("stop", Usage(10**40, 10**40)),
    ],
    ids=["word", "long", "many", "negative", "absurd"],
)
@in_virtual_time
async def test_an_odd_finish_does_not_cost_the_answer(finish: Finish) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a", finish)
        await client.rest()
        assert (client.end, w.database.answers()) == ("done", ["a"])
        assert client.ends[0]["usage"] is None
        assert len(str(client.ends)) < 1_000
        again = Client()
        await again.open(w.processes[0], KEY)
        await again.rest()
        assert again.ends == client.ends


# --- the database is away ---------------------------------------------------------------------------------


@in_virtual_time
async def test_the_commit_is_tried_until_the_database_is_back() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        w.model.say(STOP)
        await asyncio.sleep(COMMIT_SECONDS - 5)
        client.read()
        assert client.ends == []
        w.database.away = False
        back = now()
        await client.rest()
        assert now() - back <= LONGEST_RETRY_SECONDS
        assert (client.end, w.database.answers()) == ("done", ["a"])


@pytest.mark.parametrize("keep", [False, True])
@in_virtual_time
async def test_a_commit_whose_confirmation_was_lost_is_not_doubled(keep: bool) -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        process.store.lose["commit"] = 3
        w.model.say("a")
        await client.until_text("a")
        if keep:
            assert await run_of(client).stop(keep=True)
        else:
            w.model.say(STOP)
        await client.rest()
        assert process.store.visits["commit"] == 4
        assert (client.end, w.database.answers()) == ("stopped" if keep else "done", ["a"])
        again = Client()
        await again.open(process, KEY)
        await again.rest()
        assert (again.text, again.ends, again.resets) == ("a", client.ends, 0)


@in_virtual_time
async def test_a_commit_that_never_succeeds_is_an_error() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        w.model.say(STOP)
        began = now()
        await client.rest()
        assert now() - began == pytest.approx(COMMIT_SECONDS, abs=2 * LONGEST_RETRY_SECONDS)
        assert (client.end, client.ends[0]["retryable"]) == ("unavailable", True)
        w.database.away = False
        assert w.database.answers() == []
        # its lease is not renewed any more: it is made anew when asked for after that
        await asyncio.sleep(LEASE_SECONDS)
        again = Client()
        await again.open(w.processes[0], KEY)
        w.model.say("b", STOP)
        await again.rest()
        assert (again.text, again.end) == ("b", "done")


@in_virtual_time
async def test_ends_are_written_when_the_database_is_back() -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        w.model.say(ProviderError("timeout", "Too slow"))
        await asyncio.sleep(5)
        w.database.away = False
        await client.rest()
        assert (client.end, w.database.statuses()) == ("timeout", ["failed"])


@in_virtual_time
async def test_an_end_that_cannot_be_written_is_told_all_the_same() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        stopping = asyncio.ensure_future(run_of(client).stop(keep=False))
        await client.rest()
        assert await stopping
        assert client.end == "stopped"
        w.database.away = False


@in_virtual_time
async def test_a_defect_of_the_store_ends_it_once(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        process.store.defects["commit"] = ValueError("a defect")
        w.model.say("a", STOP)
        await client.rest()
        assert (client.end, w.database.statuses()) == ("internal", ["failed"])
    caplog.clear()


# --- the fence --------------------------------------------------------------------------------------------


async def overtaken(w: World) -> tuple[Client, Client]:
    """A reader on a process that was asleep, and one on the process that took the run over meanwhile."""
    asleep, awake = w.process(), w.process()
    first, second = await reader_of(asleep), Client()
    w.model.say("old")
    await first.until_text("old")
    asleep.store.away = True
    await asyncio.sleep(LEASE_SECONDS + 1)
    opening = asyncio.ensure_future(second.open(awake, KEY))
    await opening
    await quiet()
    return first, second


@in_virtual_time
async def test_an_owner_that_was_overtaken_follows_the_new_one() -> None:
    async with world() as w:
        first, second = await overtaken(w)
        assert run_of(second).owned
        (row,) = w.database.rows.values()
        assert row.epoch == 2
        w.processes[0].store.away = False
        await asyncio.sleep(2)
        assert not run_of(first).owned
        # the old one waits in the model's queue no longer
        assert w.model.open == 1
        w.model.say("new", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (first.text, first.end) == ("new", "done")
        assert first.resets > 0
        assert (second.text, second.resets, second.end) == ("new", 0, "done")
        assert first.ends == second.ends
        assert w.database.answers() == ["new"]
        assert ended_runs(w.processes[0]) == {}


@in_virtual_time
async def test_an_overtaken_owner_commits_nothing() -> None:
    async with world() as w:
        first, second = await overtaken(w)
        # the first of the two generations is the old owner's; it comes to its end before a renewal tells it
        w.model.say(" end", STOP)
        await quiet()
        w.processes[0].store.away = False
        w.model.say("new", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert w.database.answers() == ["new"]
        assert (first.text, second.text, first.end, second.end) == ("new", "new", "done", "done")
        assert first.ends == second.ends


@in_virtual_time
async def test_a_stop_right_after_the_loss_is_not_swallowed() -> None:
    """It has nothing to stop here any more, and must not wait for the answer that is made elsewhere."""
    async with world() as w:
        first, second = await overtaken(w)
        run = run_of(first)
        w.model.closing_seconds = 1.0
        run.interrupt(Interrupt.LOST)
        assert not run.owned, "a stop has to go to the new owner"
        w.model.closing_seconds = 0.0
        await asyncio.sleep(1.5)
        w.model.say("new", STOP)
        w.processes[0].store.away = False
        await asyncio.gather(first.rest(), second.rest())
        assert first.text == second.text == "new"


@in_virtual_time
async def test_readers_elsewhere_count() -> None:
    async with world(grace_seconds=0) as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        run = run_of(client)
        (row,) = w.database.rows.values()
        row.followed_until = now() + 5
        await asyncio.sleep(HEARTBEAT_SECONDS + 0.1)
        client.leave()
        w.model.say("b")
        await quiet()
        assert (run.wanted, run.journal.text) == (True, "ab")
        await run.wait_settled()
        assert now() == pytest.approx(5, abs=HEARTBEAT_SECONDS + 0.1)
        assert w.database.statuses() == ["dropped"]


@in_virtual_time
async def test_an_owner_elsewhere_that_begins_anew_resets_once() -> None:
    """Not again when the database is away for a moment and nothing is known."""
    async with world() as w:
        owner, follower = w.process(), w.process()
        first, second = await reader_of(owner), await reader_of(follower)
        assert not run_of(second).owned
        await asyncio.sleep(1)
        (row,) = w.database.rows.values()
        row.epoch = 2
        await asyncio.sleep(1)
        second.read()
        assert second.resets == 1
        follower.store.away = True
        await asyncio.sleep(2)
        follower.store.away = False
        await asyncio.sleep(1)
        second.read()
        assert second.resets == 1
        assert run_of(second).journal.epoch == 2
        row.epoch = 1
        w.model.say("a", STOP)
        await asyncio.gather(first.rest(), second.rest())
