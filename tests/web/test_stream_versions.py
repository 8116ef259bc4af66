"""Restoring and erasing over HTTP, beside streams that ask for the same answers."""

from __future__ import annotations

import asyncio

from tests.kit.event_stream import text_of
from tests.kit.http_client import Client
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving


async def answer(client: Client, model: ModelServer, conversation: str, question: str, text: str) -> str:
    """Have the model answer; the id of the message."""
    stream = await client.stream(conversation, question)
    call = await model.call()
    await call.send(text)
    await call.finish()
    message_id: str = (await stream.rest())[-1]["messageId"]
    return message_id


async def read(client: Client, conversation: str) -> list[str]:
    return [each["editedContent"] or each["content"] for each in await client.messages(conversation)]


async def test_stream_replays_the_restored_answer(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        path = f"/api/conversations/{conversation}/messages"
        first = await answer(client, model, conversation, question, "a")
        await client.ok("PUT", f"{path}/{question}", {"content": "y"})
        assert await client.ok("POST", f"{path}/{question}/rewind") == {"superseded": 1}
        second = await answer(client, model, conversation, question, "b")
        assert await client.ok("POST", f"{path}/{first}/restore") == {"restored": 1, "superseded": 1}
        assert await read(client, conversation) == ["x", "a"]
        replayed = await (await client.stream(conversation, question)).rest()
        assert (text_of(replayed), replayed[-1]["messageId"]) == ("a", first)
        assert (await client.request("POST", f"{path}/{first}/restore")).error == (404, "Message not found")
        assert await client.ok("POST", f"{path}/{second}/restore") == {"restored": 1, "superseded": 1}
        assert await read(client, conversation) == ["y", "b"]
        assert model.calls == 2
        rendered = (await client.ok("GET", f"{path}?render=html"))["items"]
        former, none = (each["formerAnswers"] for each in rendered)
        assert ([answer["id"] for answer in former], none) == ([first], None)


async def test_restore_and_erasing_are_refused_while_generating(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        path = f"/api/conversations/{conversation}/messages"
        first = await answer(client, model, conversation, question, "a")
        await client.ok("POST", f"{path}/{question}/rewind")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.send("b")
        await stream.event()
        refused = (409, "An answer is being generated in this conversation")
        assert (await client.request("POST", f"{path}/{first}/restore")).error == refused
        assert (await client.request("DELETE", f"{path}/{question}")).error == refused
        # An answer that nobody reads makes way.
        stream.leave()
        await client.app.streams.wait_empty()
        assert await client.ok("POST", f"{path}/{first}/restore") == {"restored": 1, "superseded": 0}
        await call.closed()
        assert (await client.request("DELETE", f"{path}/{question}")).status == 204
        assert await read(client, conversation) == []


async def test_stream_that_waits_for_an_erased_question_ends(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        first, second = await client.say(conversation, "x"), await client.say(conversation, "y")
        path = f"/api/conversations/{conversation}/messages"
        stream = await client.stream(conversation, first)
        call = await model.call()
        queued = await client.stream(conversation, second, whenBusy="enqueue")
        await queued.opened()
        assert (await client.request("DELETE", f"{path}/{second}")).status == 204
        assert await queued.rest() == [{"type": "stopped", "messageId": None}]
        assert (await client.refused(conversation, second)).error == (404, "Message not found")
        await call.send("a")
        await call.finish()
        assert text_of(await stream.rest()) == "a"
        assert await read(client, conversation) == ["x", "a"]


async def test_of_a_restoration_and_a_stream_that_starts_one_comes_first(database_url: str) -> None:
    """Either the stream begins an answer, and the restoration is refused, or it replays what was restored."""
    async with serving(database_url) as client:
        for _ in range(10):
            conversation = await client.conversation()
            question = await client.say(conversation, "x")
            path = f"/api/conversations/{conversation}/messages"
            done = (await (await client.stream(conversation, question)).rest())[-1]
            await client.ok("POST", f"{path}/{question}/rewind")
            restore = client.request("POST", f"{path}/{done['messageId']}/restore")
            response, stream = await asyncio.gather(restore, client.stream(conversation, question))
            end = (await stream.rest())[-1]
            assert response.status in (200, 409)
            live = await client.messages(conversation)
            assert [each["role"] for each in live] == ["user", "assistant"]
            if response.status == 409:
                assert end["messageId"] == live[1]["id"] != done["messageId"]
            elif response.json["superseded"] == 0:
                assert end["messageId"] == live[1]["id"] == done["messageId"]
            else:
                # The new answer was finished before the old one took its place again.
                assert live[1]["id"] == done["messageId"] != end["messageId"]


async def test_of_an_erasure_and_a_stream_that_starts_one_comes_first(database_url: str) -> None:
    async with serving(database_url) as client:
        for _ in range(10):
            conversation = await client.conversation()
            question = await client.say(conversation, "x")
            path = f"/api/conversations/{conversation}/messages/{question}"
            stream = client.request("GET", f"/api/conversations/{conversation}/stream?triggerMessageId={question}")
            erased, streamed = await asyncio.gather(client.request("DELETE", path), stream)
            live = await client.messages(conversation)
            assert (erased.status, streamed.status) in ((204, 404), (204, 200), (409, 200))
            assert [each["role"] for each in live] == ([] if erased.status == 204 else ["user", "assistant"])


async def test_two_restorations_at_once_leave_one_version_live(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        path = f"/api/conversations/{conversation}/messages"
        answers = []
        for _ in range(3):
            answers.append((await (await client.stream(conversation, question)).rest())[-1]["messageId"])
            await client.ok("POST", f"{path}/{question}/rewind")
        for _ in range(5):
            before = {each["id"] for each in await client.messages(conversation)}
            others = [each for each in answers if each not in before]
            responses = await asyncio.gather(*(client.request("POST", f"{path}/{each}/restore") for each in others[:2]))
            assert [response.status for response in responses] == [200, 200]
            live = await client.messages(conversation)
            assert [each["role"] for each in live] == ["user", "assistant"]
            assert live[1]["id"] in others[:2]
        everything = await client.messages(conversation, "?superseded=include")
        assert {each["id"] for each in everything} == {question, *answers}


async def test_erased_conversation_is_gone_with_its_answer(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        path = f"/api/conversations/{conversation}"
        stream = await client.stream(conversation, await client.say(conversation, "x"))
        call = await model.call()
        assert (await client.request("DELETE", f"{path}?erase=maybe")).wrong == ["erase"]
        assert (await client.request("DELETE", f"{path}?erase=true")).status == 204
        await call.closed()
        assert (await stream.rest())[-1] == {"type": "stopped", "messageId": None}
        for method, below in (("POST", "/restore"), ("DELETE", "?erase=true"), ("DELETE", ""), ("GET", "")):
            assert (await client.request(method, f"{path}{below}")).error == (404, "Conversation not found")
        deleted = f"/api/conversations/{await client.conversation()}"
        assert (await client.request("DELETE", f"{deleted}?erase=false")).status == 204
        assert (await client.request("DELETE", f"{deleted}?erase=true")).status == 204
        assert (await client.request("POST", f"{deleted}/restore")).status == 404
