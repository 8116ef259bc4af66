"""POST …/stop, and other ways to end an answer."""

from __future__ import annotations

from uuid import uuid4

import psycopg

from tests.kit.event_stream import text_of
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving


async def test_stop_discards_the_answer(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        other = await client.stream(conversation, question)
        call = await model.call()
        await call.send("part")
        await stream.event()
        inside = stream.last_id
        assert await client.ok("POST", f"/api/conversations/{conversation}/stop") == {"stopped": True}
        await call.closed()
        assert (await stream.rest())[-1] == {"type": "stopped", "messageId": None}
        assert (await other.rest())[-1] == {"type": "stopped", "messageId": None}
        assert await client.ok("POST", f"/api/conversations/{conversation}/stop") == {"stopped": False}
        assert len(await client.messages(conversation)) == 1
        back = await client.stream(conversation, question, last_id=inside)
        assert await back.rest() == [{"type": "stopped", "messageId": None}]
        assert model.calls == 1, "an id from inside a stopped run starts nothing"
        assert (await client.refused(conversation, question, last_id=stream.last_id)).status == 204
        anew = await client.stream(conversation, question)
        call = await model.call()
        await call.send("anew")
        await call.finish()
        assert text_of(await anew.rest()) == "anew"


async def test_stop_keeps_the_shown_text(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.send("shown ", "so far")
        await stream.event()
        inside = stream.last_id
        await stream.event()
        assert await client.ok("POST", f"/api/conversations/{conversation}/stop", {"keep": True}) == {"stopped": True}
        events = await stream.rest()
        kept = (await client.messages(conversation))[-1]
        assert (kept["content"], kept["status"], kept["replyTo"]) == ("shown so far", "stopped", question)
        assert events[-1] == {"type": "stopped", "messageId": kept["id"]}
        back = await client.stream(conversation, question, last_id=inside)
        assert await back.rest() == [{"type": "token", "content": "so far"}, events[-1]]
        again = await client.stream(conversation, question)
        assert await again.rest() == [{"type": "token", "content": "shown so far"}, events[-1]]
        assert model.calls == 1


async def test_stop_with_nothing_to_keep_stores_nothing(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        call = await model.call()
        await call.think("hm")
        await stream.event()
        assert await client.ok("POST", f"/api/conversations/{conversation}/stop", {"keep": True}) == {"stopped": True}
        assert (await stream.rest())[-1] == {"type": "stopped", "messageId": None}
        assert len(await client.messages(conversation)) == 1


async def test_stop_with_a_bad_body_is_refused(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        for body in ({"keep": "yes"}, {"keep": 1}, {"keep": None}, [], "x", 5):
            response = await client.request("POST", f"/api/conversations/{conversation}/stop", body)
            assert response.status == 400, body
        assert (await client.request("POST", f"/api/conversations/{uuid4()}/stop")).status == 404
        assert (await client.request("POST", "/api/conversations/x/stop")).status == 400


async def test_delete_stops_the_answer(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        first, second = await client.say(conversation, "x"), await client.say(conversation, "y")
        stream = await client.stream(conversation, first)
        queued = await client.stream(conversation, second, whenBusy="enqueue")
        call = await model.call()
        assert (await client.request("DELETE", f"/api/conversations/{conversation}")).status == 204
        await call.closed()
        assert (await stream.rest())[-1] == {"type": "stopped", "messageId": None}
        assert (await queued.rest())[-1] == {"type": "stopped", "messageId": None}
        assert model.calls == 1


async def test_delete_succeeds_though_the_owner_of_the_answer_does_not_react(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO chat_runs (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until,"
                " continues, started_at) VALUES (%(id)s, %(conversation)s, %(question)s, 'active', %(id)s, 1,"
                " now() + interval '1 hour', false, now())",
                {"id": uuid4(), "conversation": conversation, "question": question},
            )
            path = f"/api/conversations/{conversation}"
            assert (await client.request("DELETE", path)).status == 204
            assert (await client.request("GET", path)).status == 404
            asked = connection.execute(
                "SELECT status, stop_requested FROM chat_runs WHERE conversation_id = %s", [conversation]
            )
            assert asked.fetchall() == [("active", "discard")]


async def test_rewind_is_refused_while_generating(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        path = f"/api/conversations/{conversation}/messages/{question}/rewind"
        stream = await client.stream(conversation, question)
        call = await model.call()
        assert (await client.request("POST", path)).status == 409
        await call.send("a")
        await call.finish()
        await stream.rest()
        assert await client.ok("POST", path) == {"superseded": 1}
        anew = await client.stream(conversation, question)
        call = await model.call()
        await call.send("b")
        await call.finish()
        assert text_of(await anew.rest()) == "b"
