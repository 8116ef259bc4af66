"""Failures of the model, as readers see them."""

from __future__ import annotations

from tests.kit.event_stream import text_of
from tests.kit.model_server import ModelServer
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


async def test_too_long_or_empty_answer_is_an_error(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, max_answer_chars=5, **model.settings) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        call = await model.call()
        await call.send("abc", "def")
        error = (await stream.rest())[-1]
        assert (error["code"], error["retryable"]) == ("answer_too_long", False)
        await call.closed()
        stream = await client.stream(conversation)
        call = await model.call()
        await call.finish()
        assert (await stream.rest())[-1]["code"] == "bad_response"
        assert len(await client.messages(conversation)) == 1
