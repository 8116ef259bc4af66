"""Failures of the model, as readers see them."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.event_stream import text_of
from tests.kit.model_server import CHUNKED_HEAD, ModelServer, choice, chunk, event, token
from tests.kit.served_app import serving
from tests.kit.waiting import eventually


async def test_error_ends_the_stream_and_stores_nothing(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        for status, code, retryable in (
            (401, "unauthorized", False),
            (429, "rate_limited", True),
            (500, "unavailable", True),
        ):
            stream = await client.stream(conversation, question)
            await (await model.raw_call()).refuse(status)
            (error,) = await stream.rest()
            assert error == {"type": "error", "error": error["error"], "code": code, "retryable": retryable}
            assert "secret" not in error["error"]
            assert (await client.refused(conversation, question, last_id=stream.last_id)).status == 204
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.send("part")
        await stream.event()
        inside = stream.last_id
        call.hang_up()
        error = (await stream.rest())[-1]
        assert (error["type"], error["code"]) == ("error", "interrupted")
        calls = model.calls
        back = await client.stream(conversation, question, last_id=inside)
        assert await back.rest() == [error]
        assert model.calls == calls
        assert len(await client.messages(conversation)) == 1


async def test_model_that_hangs_up_in_a_pause_is_asked_again(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.send("part")
        first = await stream.event()
        stream.leave()
        await eventually(lambda: len(client.app.streams) == 0)
        call.hang_up()
        back = await client.stream(conversation, question, last_id=stream.last_id)
        again = await model.call()
        await again.send("whole")
        await again.finish()
        events = await back.rest()
        assert [first, *events][1] == {"type": "reset"}
        assert text_of([first, *events]) == "whole"
        assert (await client.messages(conversation))[-1]["content"] == "whole"


@pytest.mark.parametrize("held", [1, 2, 300])
@pytest.mark.parametrize("how", ["close", "reset", "in a chunk", "later"])
async def test_model_that_hangs_up_after_tokens_in_a_pause_is_asked_again(
    database_url: str, held: int, how: str
) -> None:
    """Only the first of these tokens is taken from the model. The others wait in the network, and then its end."""
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.raw_call()
        await call.send(CHUNKED_HEAD, chunk(token("part")))
        first = await stream.event()
        stream.leave()
        await eventually(lambda: len(client.app.streams) == 0)
        await call.send(*[chunk(token(f" held {number}")) for number in range(held)])
        if how == "later":
            await asyncio.sleep(0.05)  # until the first of them is taken, and held back
        if how == "reset":
            call.reset()
        else:
            await call.send(chunk(b"") if how == "in a chunk" else b"")
            call.hang_up()
        back = await client.stream(conversation, question, last_id=stream.last_id)
        again = await model.call()
        await again.send("whole")
        await again.finish()
        events = [first, *await back.rest()]
        assert {"type": "reset"} in events
        assert (events[-1]["type"], text_of(events)) == ("done", "whole")
        assert (await client.messages(conversation))[-1]["content"] == "whole"


async def test_model_that_hangs_up_after_a_pause_is_an_error(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.send("part")
        await stream.event()
        stream.leave()
        await eventually(lambda: len(client.app.streams) == 0)
        await call.send(" held")
        back = await client.stream(conversation, question, last_id=stream.last_id)
        assert await back.event() == {"type": "token", "content": " held"}
        call.hang_up()
        assert (await back.rest())[-1]["code"] == "interrupted"
        assert model.calls == 1


async def test_error_that_the_model_reports_after_a_pause_is_an_error(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.send("part")
        await stream.event()
        stream.leave()
        await eventually(lambda: len(client.app.streams) == 0)
        await call.send(" held", event({"error": {"type": "invalid_api_key"}}))
        call.hang_up()
        back = await client.stream(conversation, question, last_id=stream.last_id)
        assert (await back.rest())[-1]["code"] == "unauthorized"
        assert model.calls == 1


@pytest.mark.parametrize(("status", "code"), [(400, "refused"), (404, "refused"), (413, "prompt_too_long")])
async def test_refused_request_is_not_retryable(database_url: str, status: int, code: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        await (await model.raw_call()).refuse(status)
        (error,) = await stream.rest()
        assert (error["code"], error["retryable"]) == (code, False)


@pytest.mark.parametrize("rest", [b"", b": heartbeat\n\n"])
async def test_answer_whose_stream_never_ends_is_stored_at_once(database_url: str, rest: bytes) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        counts = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
        await call.send("whole", choice({}, "stop"), counts, rest)
        async with asyncio.timeout(2):
            done = (await stream.rest())[-1]
            assert (done["type"], done["usage"]) == ("done", {"inputTokens": 7, "outputTokens": 3})
            await call.closed()
            next_one = await client.stream(conversation, await client.say(conversation, "y"))
            await model.call()
        next_one.leave()


async def test_too_long_or_empty_answer_is_an_error(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, max_answer_chars=5, **model.settings) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        call = await model.call()
        await call.send("abc", "def")
        error = (await stream.rest())[-1]
        assert (error["code"], error["retryable"]) == ("answer_too_long", False)
        assert error["error"] == "The answer, or its thinking, is longer than 5 characters"
        await call.closed()
        stream = await client.stream(conversation)
        call = await model.call()
        await call.finish()
        assert (await stream.rest())[-1]["code"] == "bad_response"
        assert len(await client.messages(conversation)) == 1
