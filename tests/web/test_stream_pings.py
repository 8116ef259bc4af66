"""Pings come in time, and the stream goes on behind them, whatever was sent before.

The times at which the stream is looked after are made up.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from chatserver import app
from chatserver.live.journal import Journal
from chatserver.live.reader import BATCH_FRAMES
from chatserver.settings import Settings
from chatserver.web.handlers.answer_stream import StreamHandler
from tests.kit.event_stream import EventStream, text_of
from tests.kit.model_server import Call, ModelServer
from tests.kit.served_app import serving

PING_SECONDS = 3_600.0
LOOK_SECONDS = 60.0


class Followed(NamedTuple):
    """An answer without a token yet, and a reader that has read the opening of its stream."""

    handler: StreamHandler
    journal: Journal
    call: Call
    stream: EventStream
    began: float


@asynccontextmanager
async def followed(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Followed]:
    monkeypatch.setattr(app, "_look_seconds", lambda _: LOOK_SECONDS)  # the sweep looks after the test
    async with ModelServer() as model, serving(url, ping_seconds=PING_SECONDS, **model.settings) as client:
        conversation = await client.conversation()
        stream = await client.stream(conversation, await client.say(conversation, "x"))
        await stream.opened()
        call = await model.call()
        (handler,) = client.app.streams._open
        assert isinstance(handler, StreamHandler)
        (run,) = client.app.answers
        # No look was later. A whole number: its sums are exact.
        began = math.ceil(asyncio.get_running_loop().time()) + LOOK_SECONDS
        yield Followed(handler, run.journal, call, stream, began)


@pytest.mark.parametrize("frames", range(BATCH_FRAMES - 2, BATCH_FRAMES + 2))
async def test_stream_goes_on_after_a_ping(database_url: str, monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    async with followed(database_url, monkeypatch) as answer:
        for _ in range(frames):
            answer.journal.append_token("x")
            await asyncio.sleep(0)
        for _ in range(frames):
            await answer.stream.event()
        answer.handler.look(answer.began)
        answer.handler.look(answer.began + PING_SECONDS)
        for _ in range(3):
            answer.journal.append_token("y")
        assert await answer.stream.comment() == "ping"
        await answer.call.finish()
        assert text_of(await answer.stream.rest()) == "x" * frames + "yyy"


async def test_stream_goes_on_after_many_pings(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with followed(database_url, monkeypatch) as answer:
        pings = 3 * BATCH_FRAMES
        for number in range(pings):
            answer.handler.look(answer.began + (1 + number) * PING_SECONDS)
        assert [await answer.stream.comment() for _ in range(pings)] == ["ping"] * pings
        await answer.call.send("an answer")
        assert await answer.stream.event() == {"type": "token", "content": "an answer"}
        await answer.call.finish()
        assert text_of(await answer.stream.rest()) == "an answer"


async def test_ping_comes_before_the_silence_is_too_long(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a frame that leaves right after a look, and after a ping."""
    async with followed(database_url, monkeypatch) as answer:
        handler, pinged = answer.handler, []
        handler.look(answer.began)
        answer.journal.append_token("x")
        flush = handler.flush
        monkeypatch.setattr(handler, "flush", lambda: (pinged.append(after), flush()))
        looks = 3 * int(PING_SECONDS / LOOK_SECONDS)
        for after in (number * LOOK_SECONDS for number in range(1, looks)):
            handler.look(answer.began + after)
        assert pinged == [number * (PING_SECONDS - LOOK_SECONDS) for number in (1, 2, 3)]


@pytest.mark.parametrize("ping_seconds", [0.1, 15, 3_600])
def test_streams_are_looked_after_often_enough_for_their_pings(ping_seconds: float) -> None:
    """A ping is early by the time between two looks, and by once more if a frame left right before a look."""
    early = 2 * app._look_seconds(Settings(ping_seconds=ping_seconds))
    assert early <= min(1, ping_seconds / 16)
