"""GET and POST …/stream and POST …/stop, over real sockets and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest

from tests.kit.event_stream import EventStream, Frame, text_of
from tests.kit.http_client import COMPANY, Client, stream_path
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving
from tests.kit.waiting import eventually

# More than the buffers between the server and a reader with a small window hold.
SOCKETS_HOLD_BYTES = 5_000_000
# The contract: the model's connection is closed this soon after its last reader left.
CLOSED_SECONDS = 0.05

# --- the echo, the first bytes, the end ---------------------------------------------------------------------------


async def test_an_answer_from_question_to_history(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "two  words\n")
        stream = await client.stream(conversation, question)
        await stream.opened()
        events = await stream.rest()
        assert [event["content"] for event in events[:-1]] == [
            "Echo", " ", "from", " ", "agent:", " ", "two", "  ", "words", "\n",
        ]  # fmt: skip
        done = events[-1]
        assert done == {"type": "done", "messageId": done["messageId"], "usage": None, "stopReason": "stop"}
        asked, answer = await client.messages(conversation)
        assert asked["id"] == question
        assert answer["id"] == done["messageId"]
        assert (answer["role"], answer["content"]) == ("assistant", text_of(events))
        assert (answer["replyTo"], answer["status"], answer["usage"]) == (question, "completed", None)
        shown = await client.ok("GET", f"/api/conversations/{conversation}")
        assert shown["updatedAt"] == answer["createdAt"]
        assert shown["activeRun"] is None


async def test_headers_and_first_bytes(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.open(stream_path(conversation), headers={"Accept-Encoding": "gzip, br"})
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-cache, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in stream.headers
        assert "server" not in stream.headers
        assert stream.headers["x-request-id"]
        first = await stream.connection.chunk()
        assert first.startswith(b":ok\n\nretry: 1000\nid: ")
        assert first.endswith(b"\n\n")
        assert b"data" not in first


async def test_each_event_has_a_flush_of_its_own(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "a b c d e f g h")
        stream = await client.stream(conversation)
        await stream.rest()
        opening, *chunks = stream.chunks
        assert opening.count(b"\n\n") == 2
        assert [chunk.count(b"data: ") for chunk in chunks] == [1] * len(stream.events)
        assert len({chunk.partition(b"\n")[0] for chunk in chunks}) == len(chunks), "ids differ"


async def test_without_a_question_the_echo_says_so(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        events = await (await client.stream(conversation)).rest()
        assert text_of(events) == "No message to echo."
        again = await (await client.stream(conversation)).rest()
        assert again[-1] == events[-1]
        (answer,) = await client.messages(conversation)
        assert answer["replyTo"] is None


async def test_the_newest_user_message_is_answered_when_none_is_named(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "first")
        newest = await client.say(conversation, "second")
        await client.say(conversation, "third", role="assistant")
        await client.say(conversation, "fourth", role="system")
        events = await (await client.stream(conversation)).rest()
        assert text_of(events) == "Echo from agent: second"
        assert (await client.messages(conversation))[-1]["replyTo"] == newest


async def test_an_edited_question_is_answered_as_edited(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "old")
        await client.ok("PUT", f"/api/conversations/{conversation}/messages/{question}", {"content": "new"})
        assert text_of(await (await client.stream(conversation, question)).rest()) == "Echo from agent: new"


async def test_the_agent_of_an_answer(database_url: str) -> None:
    async with serving(database_url) as client:
        of_conversation, of_message = str(uuid4()), str(uuid4())
        conversation = await client.conversation(agentId=of_conversation)
        await client.say(conversation, "one")
        await (await client.stream(conversation)).rest()
        await client.say(conversation, "two", agentId=of_message)
        await (await client.stream(conversation)).rest()
        agents = [message["agentId"] for message in await client.messages(conversation) if message["replyTo"]]
        assert agents == [of_conversation, of_message]


# --- refusals before the first byte -------------------------------------------------------------------------------


async def test_refusals(database_url: str) -> None:
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


async def test_a_model_needs_something_to_answer(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        assert (await client.refused(conversation)).status == 400
        blank = await client.say(conversation, " \n ")
        assert (await client.refused(conversation, blank)).status == 400
        refused = await client.request("POST", stream_path(conversation), {"content": "  "})
        assert refused.status == 400
        assert len(await client.messages(conversation)) == 1, "a refused POST stores nothing"
        assert model.calls == 0


async def test_head_and_other_methods(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        for method in ("HEAD", "PUT", "DELETE"):
            response = await client.request(method, stream_path(conversation))
            assert response.status == 405
            assert set(response.headers["allow"].split(", ")) >= {"GET", "POST"}
        assert (await client.messages(conversation)) == []


async def test_http_1_0_gets_the_stream_to_the_end_of_the_connection(database_url: str) -> None:
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


# --- one answer ---------------------------------------------------------------------------------------------------


async def test_fifty_first_gets_make_one_answer(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        streams = await asyncio.gather(
            *(client.stream(conversation, question if number % 2 else None) for number in range(50))
        )
        call = await model.call()
        await call.send("one", " answer")
        await call.finish()
        answers = await asyncio.gather(*(stream.rest() for stream in streams))
        assert all(answer == answers[0] for answer in answers)
        assert text_of(answers[0]) == "one answer"
        assert model.calls == 1
        assert len(await client.messages(conversation)) == 2


async def test_who_comes_later_gets_all_of_it(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        first = await client.stream(conversation, question)
        call = await model.call()
        await call.send("a", "b")
        assert [(await first.event())["content"] for _ in "ab"] == ["a", "b"]
        second = await client.stream(conversation, question)
        assert [(await second.event())["content"] for _ in "ab"] == ["a", "b"]
        await call.send("c")
        await call.finish()
        assert await first.rest() == await second.rest()


async def test_asking_again_replays_the_same_end(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.send("an", "swer")
        await call.finish("length")
        events = await stream.rest()
        assert events[-1]["usage"] == {"inputTokens": 7, "outputTokens": 3}
        assert events[-1]["stopReason"] == "length"
        again = await client.stream(conversation, question)
        await again.opened()
        assert await again.rest() == [{"type": "token", "content": "answer"}, events[-1]]
        assert model.calls == 1


async def test_active_run_is_shown(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        shown = await client.ok("GET", f"/api/conversations/{conversation}")
        assert shown["activeRun"]["triggerMessageId"] == question
        listed = await client.ok("GET", f"/api/companies/{COMPANY}/conversations")
        assert listed["items"][0]["activeRun"] == shown["activeRun"]
        await call.send("x")
        await call.finish()
        await stream.rest()
        assert (await client.ok("GET", f"/api/conversations/{conversation}"))["activeRun"] is None


# --- what the model is given --------------------------------------------------------------------------------------


async def test_the_model_reads_the_history_arranged(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        agent = await client.ok(
            "POST",
            f"/api/companies/{COMPANY}/agents",
            {
                "name": "A",
                "adapterType": "llm",
                "adapterConfig": {"provider": "main", "model": "m", "systemPrompt": "Be brief.", "temperature": 0.5},
            },
        )
        conversation = await client.conversation(agentId=agent["id"])
        first = await client.say(conversation, "q1")
        edited = await client.say(conversation, "q2")
        await client.say(conversation, "   ")
        await client.ok("PUT", f"/api/conversations/{conversation}/messages/{edited}", {"content": "q2, edited"})
        stream = await client.stream(conversation, first)
        call = await model.call()
        assert [m["content"] for m in call.request["messages"]] == ["Be brief.", "q1"]
        await call.send("a1")
        await call.finish()
        await stream.rest()
        stream = await client.stream(conversation, edited)
        call = await model.call()
        assert call.request["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "q1"},
            {"role": "assistant", "content": "a1"},
            {"role": "user", "content": "q2, edited"},
        ]
        assert (call.request["model"], call.request["temperature"]) == ("m", 0.5)
        await call.send("a2")
        await call.finish()
        await stream.rest()
        assert (await client.messages(conversation))[-1]["agentId"] == agent["id"]


# --- reconnecting -------------------------------------------------------------------------------------------------


async def shown_after(client: Client, conversation: str, stream: EventStream, events: list[Any]) -> str:
    """The text of a client that saw `events` of `stream`, was cut off, and came back."""
    assert stream.last_id is not None
    back = await client.stream(conversation, last_id=stream.last_id)
    return text_of(events + await back.rest())


async def test_resume_after_every_single_event_of_a_stored_answer(database_url: str) -> None:
    async with serving(
        database_url, providers={"fast": {"kind": "echo", "pace_ms": 0}}, default_provider="fast"
    ) as client:
        conversation = await client.conversation()
        await client.say(conversation, 'größer 🙂 than\n\n"life" \u2028 itself')
        whole = await client.stream(conversation)
        await whole.opened()
        ids = [whole.last_id]
        while await whole.event() is not None:
            ids.append(whole.last_id)
        text = text_of(whole.events)
        for seen, last_id in enumerate(ids[:-1]):
            back = await client.stream(conversation, last_id=last_id)
            await back.opened()
            rest = await back.rest()
            assert text_of(whole.events[:seen] + rest) == text
            assert "reset" not in {event["type"] for event in rest}
            assert rest[-1] == whole.events[-1]
        assert (await client.refused(conversation, last_id=ids[-1])).status == 204


async def test_resume_after_every_single_event_of_a_live_answer(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        holder = await client.stream(conversation, question)
        call = await model.call()
        await holder.opened()
        ids, seen = [holder.last_id], []
        for token in ("a", "bc", " ", "d"):
            await call.send(token)
            seen.append(await holder.event())
            ids.append(holder.last_id)
        await call.think("hm")
        seen.append(await holder.event())
        ids.append(holder.last_id)
        assert seen[-1] == {"type": "reasoning", "content": "hm"}
        backs = [await client.stream(conversation, question, last_id=last_id) for last_id in ids]
        await call.send("e")
        await call.finish()
        whole = await holder.rest()
        for number, back in enumerate(backs):
            assert seen[:number] + await back.rest() == whole
        assert model.calls == 1


async def test_the_id_names_the_run_also_without_a_trigger(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "first")
        stream = await client.stream(conversation)
        await stream.event()
        last_id = stream.last_id
        await stream.rest()
        await client.say(conversation, "second")
        back = await client.stream(conversation, last_id=last_id)
        assert text_of(stream.events[:1] + await back.rest()) == "Echo from agent: first"


async def test_the_query_stands_in_for_the_header_which_wins(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        await stream.event()
        last_id = str(stream.last_id)
        await stream.rest()
        end_id = str(stream.last_id)
        back = await client.stream(conversation, lastEventId=last_id)
        assert text_of(await back.rest()) == " from agent: x"
        assert (await client.refused(conversation, lastEventId=end_id)).status == 204
        back = await client.stream(conversation, last_id=last_id, lastEventId=end_id)
        assert text_of(await back.rest()) == " from agent: x"


async def test_unknown_ids_get_a_reset_and_the_whole(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation, other = await client.conversation(), await client.conversation()
        await client.say(conversation, "x")
        await client.say(other, "y")
        foreign = await client.stream(other)
        await foreign.event()
        for last_id in ("nonsense", "5", foreign.last_id, f"{uuid4().hex}.1.5.20"):
            stream = await client.stream(conversation, last_id=last_id)
            events = await stream.rest()
            assert events[0] == {"type": "reset"}
            assert [event["type"] for event in events].count("reset") == 1
            assert text_of(events) == "Echo from agent: x"


async def test_a_cut_right_after_the_opening_of_a_reset_resets_again(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation, last_id="nonsense")
        await stream.opened()
        back = await client.stream(conversation, last_id=stream.last_id)
        events = await back.rest()
        assert events[0] == {"type": "reset"}
        assert text_of(events) == "Echo from agent: x"


async def test_an_answer_edited_since_is_reset(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        await stream.event()
        last_id = stream.last_id
        done = (await stream.rest())[-1]
        path = f"/api/conversations/{conversation}/messages/{done['messageId']}"
        await client.ok("PUT", path, {"content": "as edited"})
        events = await (await client.stream(conversation, last_id=last_id)).rest()
        assert events == [{"type": "reset"}, {"type": "token", "content": "as edited"}, done]


async def test_ids_hold_after_a_restart(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        first = [await stream.event(), await stream.event()]
        last_id = stream.last_id
        whole = await stream.rest()
    async with serving(database_url) as client:
        back = await client.stream(conversation, last_id=last_id)
        assert first + await back.rest() == [*first, {"type": "token", "content": text_of(whole[2:])}, whole[-1]]


async def test_with_an_id_a_busy_or_full_server_sends_away_kindly(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, max_streams=1, **model.settings) as client:
        conversation = await client.conversation()
        question, later = await client.say(conversation, "x"), await client.say(conversation, "y")
        reader = await client.stream(conversation, question)
        await model.call()
        full = await client.refused(conversation, question)
        assert full.status == 503
        assert int(full.headers["retry-after"]) >= 1
        for trigger in (question, later):
            away = await client.stream(conversation, trigger, last_id="nonsense")
            assert await away.rest() == []
            assert away.retry is not None
            assert 1000 <= away.retry <= 5000
        reader.leave()


# --- leaving ------------------------------------------------------------------------------------------------------


async def test_without_grace_the_models_connection_is_closed_at_once(database_url: str) -> None:
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


async def test_a_reader_that_leaves_is_noticed_whatever_it_has_sent(database_url: str) -> None:
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


async def test_within_the_grace_the_answer_goes_on_where_it_was(database_url: str) -> None:
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


async def test_nobody_reading_nothing_taken(database_url: str) -> None:
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
        before = len(run.journal)
        for _ in range(100):
            await call.send("x" * 100)
        await client.ok("GET", f"/api/conversations/{conversation}")
        assert len(run.journal) == before


async def test_a_dropped_answer_leaves_nothing(database_url: str) -> None:
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


async def test_on_disconnect_continue(database_url: str) -> None:
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


async def test_an_answer_without_readers_is_not_busy(database_url: str) -> None:
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


# --- busy ---------------------------------------------------------------------------------------------------------


async def test_reject_is_the_default(database_url: str) -> None:
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


async def test_interrupt(database_url: str) -> None:
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


async def test_the_last_to_interrupt_wins(database_url: str) -> None:
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


async def test_enqueue_is_first_come_first_served(database_url: str) -> None:
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


async def test_a_queued_post_keeps_its_message(database_url: str) -> None:
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


# --- POST …/stream ------------------------------------------------------------------------------------------------


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


async def test_bad_posts_store_nothing(database_url: str) -> None:
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


# --- stop ---------------------------------------------------------------------------------------------------------


async def test_stop_discards(database_url: str) -> None:
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


async def test_stop_keeps(database_url: str) -> None:
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


async def test_stop_with_nothing_to_keep(database_url: str) -> None:
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


async def test_stop_refuses_nonsense(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        for body in ({"keep": "yes"}, {"keep": 1}, {"keep": None}, [], "x", 5):
            response = await client.request("POST", f"/api/conversations/{conversation}/stop", body)
            assert response.status == 400, body
        assert (await client.request("POST", f"/api/conversations/{uuid4()}/stop")).status == 404
        assert (await client.request("POST", "/api/conversations/x/stop")).status == 400


async def test_delete_stops(database_url: str) -> None:
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


# --- failures of the model ----------------------------------------------------------------------------------------


async def test_errors_end_the_stream_and_store_nothing(database_url: str) -> None:
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


async def test_a_model_that_hangs_up_in_a_pause_is_asked_anew(database_url: str) -> None:
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


async def test_answers_that_are_too_long_or_empty(database_url: str) -> None:
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


# --- bounds -------------------------------------------------------------------------------------------------------


async def test_past_max_runs_new_answers_are_refused_but_others_joined(database_url: str) -> None:
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


async def test_max_runs_holds_for_a_crowd(database_url: str) -> None:
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


async def test_past_max_streams_all_others_are_refused(database_url: str) -> None:
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


async def open_or_status(client: Client, conversation: str, trigger: str) -> EventStream | int:
    connection = await client.connect()
    await connection.send("GET", stream_path(conversation, trigger))
    status, headers = await connection.head()
    return EventStream(connection, headers) if status == 200 else status


async def test_pings_in_silence(database_url: str) -> None:
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


async def test_a_reader_that_takes_nothing_is_cut_and_holds_nobody_up(database_url: str) -> None:
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


async def test_a_reader_that_takes_little_but_takes_it_is_not_cut(database_url: str) -> None:
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


async def test_draining_sends_readers_away(database_url: str) -> None:
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


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.serial
async def test_model_connection_is_closed_within_50_ms_of_the_last_reader_leaving(database_url: str) -> None:
    """The best of five tries counts: the machine may be busy with something else during one of them."""
    seconds: list[float] = []
    clock = time.monotonic
    async with ModelServer() as model, serving(database_url, resume_grace_seconds=0, **model.settings) as client:
        while not seconds or (seconds[-1] >= CLOSED_SECONDS and len(seconds) < 5):
            conversation = await client.conversation()
            stream = await client.stream(conversation, await client.say(conversation, "x"))
            call = await model.call()
            await call.send("part")
            await stream.event()
            left = clock()
            stream.leave()
            await call.closed()
            seconds.append(clock() - left)
    assert min(seconds) < CLOSED_SECONDS, seconds


async def test_tokens_are_not_held_back(database_url: str) -> None:
    """Each token is at the client before the model has said the next."""
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        call = await model.call()
        for number in range(50):
            await call.send(str(number))
            assert await stream.event() == {"type": "token", "content": str(number)}
        await call.finish()
        await stream.rest()
