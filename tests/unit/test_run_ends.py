"""An answer that is stopped, that fails, or whose model misbehaves ends once, and readers are told why."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, get_args

import pytest

from chatserver.errors import RETRYABLE, ErrorCode, ProviderError
from chatserver.providers.base import Finish, ReasoningDelta, TextDelta, Usage
from tests.kit.processes import (
    FIRST,
    MAX_ANSWER_CHARS,
    STOP,
    Client,
    ended_runs,
    reader_of,
    run_of,
    world,
)
from tests.kit.virtual_time import in_virtual_time, now, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


# --- stop -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_stop_ends_the_answer_for_all_and_stores_nothing() -> None:
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
async def test_stop_with_keep_stores_the_part_that_was_shown() -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("a", ReasoningDelta("hm"), "b")
        await client.until_text("ab")
        assert await run_of(client).stop(keep=True)
        await client.rest()
        (row,) = w.database.rows.values()
        assert row.answer is not None
        assert client.ends == [{"type": "stopped", "messageId": str(row.answer.new.message_id)}]
        assert (row.status, row.answer.new.text, row.answer.new.usage) == ("kept", "ab", None)
        assert (row.answer.new.model, row.answer.new.duration_ms, row.answer.new.reasoning) == ("the model", 0, "hm")
        again = Client()
        await again.open(process, FIRST)
        await again.rest()
        assert (again.text, again.ends, w.model.generations) == ("ab", client.ends, 1)


@pytest.mark.parametrize("shown", [[], [ReasoningDelta("hm")], [" \n"]], ids=["nothing", "thoughts", "white space"])
@in_virtual_time
async def test_stop_with_keep_stores_nothing_if_nothing_was_shown(shown: list[Any]) -> None:
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
async def test_stop_during_the_grace_ends_the_answer(keep: bool) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        client.leave()
        assert await run_of(client).stop(keep=keep)
        assert w.database.statuses() == ["kept" if keep else "stopped"]
        await client.open(w.processes[0], FIRST)
        await client.rest()
        assert (client.text, client.end, client.resets) == ("a", "stopped", 0)


@pytest.mark.parametrize("keep", [False, True])
@in_virtual_time
async def test_stop_during_the_commit_comes_too_late(keep: bool) -> None:
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
async def test_second_stop_changes_nothing() -> None:
    """The first stop decides what is kept."""
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
async def test_reader_that_comes_during_a_stop_sees_the_end() -> None:
    """With an event id of the run. Without one the answer is generated anew."""
    async with world() as w:
        process = w.process()
        client, late = await reader_of(process), Client()
        w.model.say("a")
        await client.until_text("a")
        client.leave()
        w.model.closing_seconds = 1.0
        stopping = asyncio.ensure_future(run_of(client).stop(keep=False))
        await quiet()
        await asyncio.gather(client.open(process, FIRST), late.open(process, FIRST))
        assert await stopping
        await client.rest()
        assert (client.text, client.end) == ("a", "stopped")
        w.model.say("b", STOP)
        await late.rest()
        assert (late.text, late.end) == ("b", "done")


@in_virtual_time
async def test_commit_goes_on_when_all_readers_leave() -> None:
    """It is too late to drop the answer: it is whole."""
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
        await client.open(process, FIRST)
        await client.rest()
        assert (client.text, client.end, client.resets) == ("a", "done", 0)


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", get_args(ErrorCode))
@in_virtual_time
async def test_error_of_a_model_is_sent_and_stored(code: ErrorCode) -> None:
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
        await again.open(process, FIRST)
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
async def test_unexpected_exception_of_a_model_is_an_internal_error(
    nonsense: Exception, caplog: pytest.LogCaptureFixture
) -> None:
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
async def test_model_that_cancels_itself_is_an_error() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a", asyncio.CancelledError())
        await client.rest()
        assert (client.end, w.model.open) == ("internal", 0)


@in_virtual_time
async def test_model_that_fails_to_close_can_be_stopped() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        w.model.closing_error = RuntimeError("cannot close")
        assert await run_of(client).stop(keep=True)
        await client.rest()
        assert (client.end, w.database.answers()) == ("stopped", ["a"])


@pytest.mark.parametrize("said", [[], [ReasoningDelta("hm")], [""], ["\0", "\0"]])
@in_virtual_time
async def test_empty_answer_is_an_error(said: list[Any]) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say(*said, STOP)
        await client.rest()
        assert (client.end, client.text, w.database.answers()) == ("bad_response", "", [])


@pytest.mark.parametrize("delta", [TextDelta("xx"), ReasoningDelta("xx")], ids=["text", "thoughts"])
@in_virtual_time
async def test_answer_over_the_limit_is_an_error(delta: Any) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say(*[delta] * MAX_ANSWER_CHARS, STOP)
        await client.rest()
        assert (client.end, w.database.answers(), w.model.open) == ("answer_too_long", [], 0)
        assert w.model.given == MAX_ANSWER_CHARS // 2 + 1


@in_virtual_time
async def test_answer_as_long_as_the_limit_is_stored() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("x" * (MAX_ANSWER_CHARS - 1), ReasoningDelta("y" * MAX_ANSWER_CHARS), "x", STOP)
        await client.rest()
        assert (client.end, len(client.text)) == ("done", MAX_ANSWER_CHARS)


@in_virtual_time
async def test_text_that_cannot_be_stored_is_cleaned() -> None:
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
async def test_odd_finish_does_not_cost_the_answer(finish: Finish) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a", finish)
        await client.rest()
        assert (client.end, w.database.answers()) == ("done", ["a"])
        assert client.ends[0]["usage"] is None
        assert len(str(client.ends)) < 1_000
        again = Client()
        await again.open(w.processes[0], FIRST)
        await again.rest()
        assert again.ends == client.ends
