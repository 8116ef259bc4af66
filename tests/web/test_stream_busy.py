"""Two questions in one conversation: the second is refused, interrupts, or waits."""

from __future__ import annotations

import asyncio

from tests.kit.event_stream import text_of
from tests.kit.http_client import stream_path
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving
from tests.kit.waiting import eventually


async def test_second_question_is_rejected_by_default(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        first, second = await client.say(conversation, "x"), await client.say(conversation, "y")
        stream = await client.stream(conversation, first)
        call = await model.call()
        assert (await client.refused(conversation, second)).status == 409
        posted = await client.request("POST", stream_path(conversation), {"content": "z"})
        assert posted.status == 409
        assert [m["content"] for m in await client.messages(conversation)] == ["x", "y"]
        away = await client.stream(conversation, second, last_id="nonsense")
        assert await away.rest() == []
        joined = await client.stream(conversation, first, whenBusy="interrupt")
        await call.send("a")
        await call.finish()
        assert await joined.rest() == await stream.rest()


async def test_interrupt_stops_the_running_answer(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        first, second = await client.say(conversation, "x"), await client.say(conversation, "y")
        stream = await client.stream(conversation, first)
        call = await model.call()
        await call.send("part")
        await stream.event()
        other = await client.stream(conversation, second, whenBusy="interrupt")
        assert (await stream.rest())[-1] == {"type": "stopped", "messageId": None}
        await call.closed()
        again = await model.call()
        await again.send("answer")
        await again.finish()
        assert text_of(await other.rest()) == "answer"
        assert [m["content"] for m in await client.messages(conversation)] == ["x", "y", "answer"]


async def test_last_interrupt_wins(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        questions = [await client.say(conversation, text) for text in "abcd"]
        first = await client.stream(conversation, questions[0])
        await model.call()
        queued = await client.stream(conversation, questions[3], whenBusy="enqueue")
        second, third = await asyncio.gather(
            *(client.stream(conversation, question, whenBusy="interrupt") for question in questions[1:3])
        )
        assert (await first.rest())[-1] == {"type": "stopped", "messageId": None}
        call = await model.call()
        if call.request["messages"][-1]["content"] == "b":  # it had begun already
            call = await model.call()
        assert call.request["messages"][-1]["content"] == "c"
        assert (await second.rest())[-1] == {"type": "stopped", "messageId": None}
        await call.send("C")
        await call.finish()
        assert text_of(await third.rest()) == "C"
        call = await model.call()
        await call.send("D")
        await call.finish()
        assert text_of(await queued.rest()) == "D"


async def test_enqueue_keeps_the_order_of_arrival(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, ping_seconds=0.05, **model.settings) as client:
        conversation = await client.conversation()
        questions = [await client.say(conversation, text) for text in "abcd"]
        streams = [await client.stream(conversation, question, whenBusy="enqueue") for question in questions]
        call = await model.call()
        await streams[1].opened()
        assert await streams[1].comment() == "ping"
        streams[2].leave()
        await eventually(lambda: len(client.app.streams) == 3)
        assert model.calls == 1
        for stream, text in ((streams[0], "a"), (streams[1], "b"), (streams[3], "d")):
            if text != "a":
                call = await model.call()
            assert call.request["messages"][-1] == {"role": "user", "content": text}
            await call.send(text.upper())
            await call.finish()
            assert text_of(await stream.rest()) == text.upper()
        assert model.calls == 3


async def test_queued_post_keeps_its_message(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        call = await model.call()
        queued = await client.open(stream_path(conversation, whenBusy="enqueue"), method="POST", body={"content": "z"})
        await call.send("1")
        await call.finish()
        await stream.rest()
        call = await model.call()
        assert [m["content"] for m in call.request["messages"]] == ["x", "1", "z"]
        await call.send("2")
        await call.finish()
        await queued.rest()
        assert [m["content"] for m in await client.messages(conversation)] == ["x", "z", "1", "2"]
