"""POST …/stream: adds a message and streams its answer."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from tests.kit.event_stream import text_of
from tests.kit.http_client import stream_path
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving


async def test_post_adds_the_message_and_streams_its_answer(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation, agent = await client.conversation(), str(uuid4())
        stream = await client.open(
            stream_path(conversation), method="POST", body={"content": "hi\nthere", "agentId": agent}
        )
        trigger = stream.headers["x-trigger-message-id"]
        await stream.opened()
        events = await stream.rest()
        assert text_of(events) == "Echo from agent: hi\nthere"
        asked, answer = await client.messages(conversation)
        assert (asked["id"], asked["content"]) == (trigger, "hi\nthere")
        assert (answer["id"], answer["replyTo"], answer["agentId"]) == (events[-1]["messageId"], trigger, agent)
        assert (await client.ok("GET", f"/api/conversations/{conversation}"))["title"] == "hi"


async def test_bad_post_stores_nothing(database_url: str) -> None:
    async with serving(database_url, max_message_chars=10) as client:
        conversation = await client.conversation()
        for body, status in (
            ({}, 400),
            ({"content": ""}, 400),
            ({"content": 5}, 400),
            ({"content": "\x00"}, 400),
            ({"content": "x" * 11}, 400),
            ({"content": "x", "agentId": "me"}, 400),
            (b"{", 400),
        ):
            headers = {"Content-Type": "application/json"}
            response = await client.request("POST", stream_path(conversation), body, headers)
            assert response.status == status, body
        unknown = await client.request("POST", stream_path(str(uuid4())), {"content": "x"})
        assert unknown.status == 404
        assert await client.messages(conversation) == []


async def test_twenty_posts_under_one_key_make_one_message_and_one_answer(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        streams = await asyncio.gather(
            *(
                client.open(
                    stream_path(conversation),
                    method="POST",
                    body={"content": "x"},
                    headers={"Idempotency-Key": "once"},
                )
                for _ in range(20)
            )
        )
        assert len({stream.headers["x-trigger-message-id"] for stream in streams}) == 1
        call = await model.call()
        await call.send("an answer")
        await call.finish()
        ends = [(await stream.rest())[-1] for stream in streams]
        assert ends == [ends[0]] * 20
        again = await client.open(
            stream_path(conversation), method="POST", body={"content": "x"}, headers={"Idempotency-Key": "once"}
        )
        assert again.headers["x-trigger-message-id"] == streams[0].headers["x-trigger-message-id"]
        assert (await again.rest())[-1] == ends[0]
        assert model.calls == 1
        assert len(await client.messages(conversation)) == 2
        other = await client.request("POST", stream_path(conversation), {"content": "y"}, {"Idempotency-Key": "once"})
        assert other.status == 422
        assert len(await client.messages(conversation)) == 2
