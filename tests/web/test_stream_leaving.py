"""Readers that leave an answer: it goes on within its grace, or ends."""

from __future__ import annotations

import pytest

from chatserver import logs
from chatserver.live.run import Run
from tests.kit.event_stream import text_of
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving
from tests.kit.waiting import eventually


async def test_model_connection_is_closed_at_once_without_grace(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, resume_grace_seconds=0, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.send("part")
        await stream.event()
        stream.connection.reset()
        await call.closed()
        back = await client.stream(conversation, question, last_id=stream.last_id)
        again = await model.call()
        assert (await back.event()) == {"type": "reset"}
        await again.send("whole")
        await again.finish()
        assert text_of(await back.rest()) == "whole"
        assert [m["content"] for m in await client.messages(conversation)] == ["x", "whole"]


async def test_reader_that_leaves_is_noticed_despite_unread_bytes(database_url: str) -> None:
    """Tornado alone would notice it with the next write, which may be a ping."""
    async with ModelServer() as model, serving(database_url, resume_grace_seconds=0, **model.settings) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        for leave in ("reset", "close"):
            stream = await client.stream(conversation)
            await stream.opened()
            call = await model.call()
            stream.connection.writer.write(b"GET /healthz HTTP/1.1\r\n")
            await stream.connection.writer.drain()
            getattr(stream.connection, leave)()
            await call.closed()
            await eventually(lambda: not list(client.app.answers))


async def test_answer_does_not_bear_the_id_of_the_request_that_began_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on without it, and for others."""
    ids = []
    run = Run.run

    async def recorded(self: Run) -> None:
        ids.append(logs.request_id.get())
        await run(self)

    monkeypatch.setattr(Run, "run", recorded)
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        await (await client.stream(conversation)).rest()
    assert ids == [None]


async def test_answer_continues_within_the_grace(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.send("a")
        first = await stream.event()
        stream.leave()
        await eventually(lambda: len(client.app.streams) == 0)
        await call.send("b")
        back = await client.stream(conversation, question, last_id=stream.last_id)
        assert await back.event() == {"type": "token", "content": "b"}
        await call.finish()
        assert text_of([first, *await back.rest()]) == "ab"
        assert model.calls == 1


async def test_nothing_is_read_from_the_model_without_readers(database_url: str) -> None:
    """The model's bytes are held back while nobody reads: it cannot get rid of more than the sockets hold."""
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        call = await model.call()
        await call.send("first")
        await stream.event()
        stream.leave()
        await eventually(lambda: len(client.app.streams) == 0)
        (run,) = client.app.answers
        before = run.journal.events
        for _ in range(100):
            await call.send("x" * 100)
        await client.ok("GET", f"/api/conversations/{conversation}")
        assert run.journal.events == before


async def test_dropped_answer_stores_nothing(database_url: str) -> None:
    async with serving(
        database_url,
        resume_grace_seconds=0,
        providers={"slow": {"kind": "echo", "pace_ms": 50}},
        default_provider="slow",
    ) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        await stream.event()
        stream.leave()
        await eventually(lambda: not list(client.app.answers))
        assert len(await client.messages(conversation)) == 1
        assert (await client.ok("GET", f"/api/conversations/{conversation}"))["activeRun"] is None


async def test_answer_that_continues_is_stored_without_readers(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, resume_grace_seconds=0, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question, onDisconnect="continue")
        call = await model.call()
        await call.send("a")
        await stream.event()
        stream.leave()
        await eventually(lambda: len(client.app.streams) == 0)
        await call.send("b")
        await call.finish()
        await eventually(lambda: not list(client.app.answers))
        assert (await client.messages(conversation))[-1]["content"] == "ab"
        back = await client.stream(conversation, question, last_id=stream.last_id)
        assert text_of(await back.rest()) == "b"


async def test_answer_without_readers_gives_way_to_another(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        first, second = await client.say(conversation, "x"), await client.say(conversation, "y")
        stream = await client.stream(conversation, first)
        await stream.opened()
        call = await model.call()
        stream.leave()
        await eventually(lambda: len(client.app.streams) == 0)
        other = await client.stream(conversation, second)
        await call.closed()
        again = await model.call()
        await again.send("answer")
        await again.finish()
        assert text_of(await other.rest()) == "answer"
        back = await client.stream(conversation, first, last_id=stream.last_id)
        third = await model.call()
        assert await back.event() == {"type": "reset"}
        await third.send("anew")
        await third.finish()
        assert text_of(await back.rest()) == "anew"
