"""GET …/stream after a cut: `Last-Event-ID` resumes, and a reset begins anew."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from chatserver.live.journal import NEWEST_FRAMES
from tests.kit.event_stream import EventStream, text_of
from tests.kit.http_client import Client
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving


async def shown_after(client: Client, conversation: str, stream: EventStream, events: list[Any]) -> str:
    """The text of a client that saw `events` of `stream`, was cut off, and came back."""
    assert stream.last_id is not None
    back = await client.stream(conversation, last_id=stream.last_id)
    return text_of(events + await back.rest())


async def test_stored_answer_resumes_after_every_event(database_url: str) -> None:
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


async def test_live_answer_resumes_after_every_event(database_url: str) -> None:
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


async def test_client_far_behind_gets_few_large_pieces(database_url: str) -> None:
    """Wherever in the answer it was cut off: nothing comes twice, nothing is missing."""
    tokens = [f"{number} é\n" for number in range(4 * NEWEST_FRAMES)]
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        holder = await client.stream(conversation, question)
        call = await model.call()
        await holder.opened()
        places = [(holder.last_id, "")]
        await call.send(*tokens)
        while (shown := places[-1][1]) != "".join(tokens):
            shown += (await holder.event())["content"]
            places.append((holder.last_id, shown))
        cuts = [place for number, place in enumerate(places) if number % 97 < 2]
        backs = [await client.stream(conversation, question, last_id=last_id) for last_id, _ in cuts]
        await call.think("hm")
        await call.send("the end")
        await call.finish()
        for (_, shown), back in zip(cuts, backs, strict=True):
            events = await back.rest()
            assert shown + text_of(events) == "".join(tokens) + "the end"
            assert len(events) < NEWEST_FRAMES + 10


async def test_last_event_id_names_the_run_without_a_trigger(database_url: str) -> None:
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


async def test_query_parameter_resumes_unless_the_header_is_there(database_url: str) -> None:
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


async def test_unknown_id_gets_a_reset_and_the_whole_answer(database_url: str) -> None:
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


async def test_cut_right_after_the_opening_of_a_reset_resets_again(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation, last_id="nonsense")
        await stream.opened()
        back = await client.stream(conversation, last_id=stream.last_id)
        events = await back.rest()
        assert events[0] == {"type": "reset"}
        assert text_of(events) == "Echo from agent: x"


async def test_edited_answer_is_reset(database_url: str) -> None:
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


async def test_ids_are_valid_after_a_restart(database_url: str) -> None:
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


async def test_resuming_reader_of_a_busy_or_full_server_is_sent_away_with_a_delay(database_url: str) -> None:
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
