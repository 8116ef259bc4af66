"""GET and POST …/stream: requests that are refused before the first byte, and the bounds of a server."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import uuid4

import pytest

from tests.kit.event_stream import EventStream, Frame, text_of
from tests.kit.http_client import Client, Response, stream_path
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving
from tests.kit.waiting import eventually

# More than the buffers between the server and a reader with a small window hold.
SOCKETS_HOLD_BYTES = 5_000_000


async def test_bad_requests_are_refused(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation, other = await client.conversation(), await client.conversation()
        answer = await client.say(conversation, "x", role="assistant")
        elsewhere = await client.say(other, "x")
        cases: list[tuple[str, int]] = [
            (stream_path("nonsense"), 400),
            (stream_path(conversation.replace("-", "")), 400),
            (stream_path(conversation, "nonsense"), 400),
            (stream_path(conversation, ""), 400),
            (stream_path(conversation, answer), 400),
            (stream_path(conversation, whenBusy="wait"), 400),
            (stream_path(conversation, whenBusy=""), 400),
            (stream_path(conversation, onDisconnect="stay"), 400),
            (stream_path(conversation, lastEventId=""), 400),
            (stream_path(str(uuid4())), 404),
            (stream_path(conversation, str(uuid4())), 404),
            (stream_path(conversation, elsewhere), 404),
        ]
        for path, status in cases:
            response = await client.request("GET", path)
            assert response.status == status, (path, response)
            assert response.json["error"]
            assert response.headers["content-type"] == "application/json"
        question = await client.say(conversation, "to be superseded")
        await client.ok("POST", f"/api/conversations/{conversation}/messages/{answer}/rewind")
        assert (await client.refused(conversation, question)).status == 404
        await client.ok("DELETE", f"/api/conversations/{conversation}")
        assert (await client.refused(conversation)).status == 404


async def test_conversation_without_a_question_is_refused(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        assert (await client.refused(conversation)).status == 400
        blank = await client.say(conversation, " \n ")
        assert (await client.refused(conversation, blank)).status == 400
        refused = await client.request("POST", stream_path(conversation), {"content": "  "})
        assert refused.status == 400
        assert len(await client.messages(conversation)) == 1, "a refused POST stores nothing"
        assert model.calls == 0


async def test_other_methods_are_refused(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        for method in ("HEAD", "PUT", "DELETE"):
            response = await client.request(method, stream_path(conversation))
            assert response.status == 405
            assert set(response.headers["allow"].split(", ")) >= {"GET", "POST"}
        assert (await client.messages(conversation)) == []


async def test_http_1_0_stream_ends_with_the_connection(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        connection = await client.connect()
        await connection.send("GET", stream_path(conversation), None, {"Connection": "keep-alive"}, version="HTTP/1.0")
        status, headers = await connection.head()
        body = await asyncio.wait_for(connection.reader.read(), 20)
        assert status == 200
        assert "transfer-encoding" not in headers
        assert body.startswith(b":ok\n\n")
        assert b'"type":"done"' in body


async def test_new_answer_past_max_runs_is_refused_but_a_running_one_joined(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, max_runs=1, **model.settings) as client:
        busy, other = await client.conversation(), await client.conversation()
        question = await client.say(busy, "x")
        await client.say(other, "y")
        stream = await client.stream(busy, question)
        call = await model.call()
        refused = await client.refused(other)
        assert refused.status == 503
        assert refused.headers["retry-after"]
        posted = await client.request("POST", stream_path(other), {"content": "z"})
        assert posted.status == 503
        assert len(await client.messages(other)) == 1
        joined = await client.stream(busy, question)
        await call.send("a")
        await call.finish()
        assert await joined.rest() == await stream.rest()


async def test_running_answer_is_joined_past_max_runs_however_it_is_asked_for(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, max_runs=1, **model.settings) as client:
        conversation = await client.conversation()
        asking: dict[str, Any] = {
            "method": "POST",
            "body": {"content": "x"},
            "headers": {"Content-Type": "application/json", "Idempotency-Key": "once"},
        }
        streams = [await client.open(stream_path(conversation), **asking)]
        call = await model.call()
        streams.append(await client.open(stream_path(conversation), **asking))
        streams.append(await client.stream(conversation))
        await call.send("a")
        await call.finish()
        first, *others = [await stream.rest() for stream in streams]
        assert text_of(first) == "a"
        assert others == [first, first]
        assert model.calls == 1


async def test_max_runs_holds_for_requests_at_once(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, max_runs=2, **model.settings) as client:
        conversations = [await client.conversation() for _ in range(12)]
        questions = [await client.say(conversation, "x") for conversation in conversations]
        answers = await asyncio.gather(
            *(open_or_status(client, *pair) for pair in zip(conversations, questions, strict=True))
        )
        streams = [answer for answer in answers if isinstance(answer, EventStream)]
        assert len(streams) == 2
        assert [answer for answer in answers if isinstance(answer, int)] == [503] * 10
        for _ in streams:
            call = await model.call()
            await call.send("a")
            await call.finish()
        for stream in streams:
            assert (await stream.rest())[-1]["type"] == "done"


async def test_streams_past_max_streams_are_refused(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, max_streams=3, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        answers = await asyncio.gather(*(open_or_status(client, conversation, question) for _ in range(10)))
        streams = [answer for answer in answers if isinstance(answer, EventStream)]
        assert [answer for answer in answers if isinstance(answer, int)] == [503] * 7
        assert len(streams) == 3
        call = await model.call()
        await call.send("a")
        await call.finish()
        for stream in streams:
            assert (await stream.rest())[-1]["type"] == "done"
        await eventually(lambda: len(client.app.streams) == 0)
        assert (await (await client.stream(conversation, question)).rest())[-1]["type"] == "done"


async def test_bad_post_is_told_what_is_wrong_even_if_no_stream_may_be_added(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, max_streams=1, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        path, kind = stream_path(conversation), {"Content-Type": "application/json"}
        for draining in (False, True):
            client.app.streams.draining = draining
            assert (await client.request("POST", path, {"content": "y"})).status == 503
            assert (await client.request("POST", path, b"{", kind)).status == 400
            assert (await client.request("POST", path, b"x", {"Content-Type": "text/plain"})).status == 415
            assert (await client.request("POST", f"{path}&whenBusy=never", {"content": "y"})).status == 400
        call = await model.call()
        await call.send("answer")
        await call.finish()
        assert text_of(await stream.rest()) == "answer"
        assert len(await client.messages(conversation)) == 2


async def open_or_status(client: Client, conversation: str, trigger: str) -> EventStream | int:
    connection = await client.connect()
    await connection.send("GET", stream_path(conversation, trigger))
    status, headers = await connection.head()
    return EventStream(connection, headers) if status == 200 else status


async def test_silent_stream_sends_pings(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, ping_seconds=0.05, **model.settings) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        await stream.opened()
        call = await model.call()
        for _ in range(3):
            assert await stream.frame() == Frame(None, None, None, "ping")
        await call.send("a")
        await call.finish()
        assert text_of(await stream.rest()) == "a"


async def test_reader_that_reads_nothing_is_cut_and_delays_nobody(database_url: str) -> None:
    async with (
        ModelServer() as model,
        serving(database_url, slow_reader_seconds=0.5, max_answer_chars=100_000_000, **model.settings) as client,
    ):
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        slow = await client.open(stream_path(conversation, question), receive_buffer=4_096)
        fast = await client.stream(conversation, question)
        call = await model.call()

        sent = 300  # more than the sockets hold
        for _ in range(sent):
            await call.send("x" * 60_000)
            await fast.event()
        await eventually(lambda: len(client.app.streams) == 1)
        await call.finish()
        events = await fast.rest()
        assert len(text_of(events)) == sent * 60_000
        taken = []
        try:
            while (event := await slow.event()) is not None:
                taken.append(event)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        assert len(taken) < len(events)
        back = await client.stream(conversation, question, last_id=slow.last_id)
        assert text_of(taken + await back.rest()) == text_of(events)


async def test_slow_reader_that_keeps_reading_is_not_cut(database_url: str) -> None:
    async with (
        ModelServer() as model,
        serving(database_url, slow_reader_seconds=0.8, max_answer_chars=100_000_000, **model.settings) as client,
    ):
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        slow = await client.open(stream_path(conversation, question), receive_buffer=4_096)
        fast = await client.stream(conversation, question)
        call = await model.call()

        sent = taken = 0
        behind_since: float | None = None
        clock = asyncio.get_running_loop().time

        async def take_a_little() -> None:
            nonlocal taken, behind_since
            while True:
                taken += len(piece := await slow.connection.reader.read(4_000))
                assert piece
                if sent - taken < SOCKETS_HOLD_BYTES:
                    behind_since = None
                elif behind_since is None:
                    behind_since = clock()
                await asyncio.sleep(0.01)

        taking = asyncio.ensure_future(take_a_little())
        for _ in range(1_500):
            await call.send("x" * 8_000)
            await fast.event()
            sent += 8_000
        await eventually(lambda: behind_since is not None and clock() - behind_since > 3.0)
        assert not taking.done()
        taking.cancel()
        assert len(client.app.streams) == 2
        await call.finish()
        await fast.rest()


async def test_draining_server_sends_readers_away(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.send("a")
        await stream.event()
        client.app.begin_drain()
        assert (await client.request("GET", "/readyz")).status == 503
        refused = await client.refused(conversation, question)
        assert refused.status == 503
        away = await client.stream(conversation, question, last_id=stream.last_id)
        assert await away.rest() == []
        client.app.streams.close()
        assert (await stream.rest())[1:] == []
        assert stream.retry is not None
        assert 1000 <= stream.retry <= 5000


@pytest.mark.parametrize("in_query", [False, True])
@pytest.mark.parametrize("moment", ["drain", "farewell"])
async def test_reconnecting_reader_is_never_refused_while_the_server_stops(
    database_url: str, moment: str, in_query: bool
) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        await stream.event()
        first_id = stream.last_id
        await stream.rest()
        assert first_id is not None and stream.last_id is not None
        client.app.begin_drain()
        if moment == "farewell":
            client.app.requests.close()

        async def ask(event_id: str) -> Response:
            path = stream_path(conversation, question)
            if in_query:
                return await client.request("GET", f"{path}&lastEventId={event_id}")
            return await client.request("GET", path, headers={"Last-Event-ID": event_id})

        for event_id in (first_id, "foreign"):
            response = await ask(event_id)
            assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
            assert re.fullmatch(rb":ok\n\nretry: [1-5][0-9]{3}\n\n", response.body)
        assert (await ask(stream.last_id)).status == 204
        assert (await client.refused(conversation, question)).status == 503
