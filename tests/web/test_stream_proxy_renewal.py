"""`auth = "proxy"`: no response goes on for longer than `ACCESS_SECONDS`; who comes back has lost nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from chatserver.services.proxy_sign_in import ACCESS_SECONDS
from chatserver.web.http import streaming_handler
from chatserver.web.http.streaming_handler import StreamingHandler
from tests.kit.event_stream import text_of
from tests.kit.http_client import COMPANY, stream_path
from tests.kit.model_server import ModelServer
from tests.kit.served_app import Served, serving
from tests.kit.waiting import eventually
from tests.web.test_export_routes import say_much

PROXY: dict[str, Any] = {
    "auth": "proxy",
    "trusted_proxies": ("127.0.0.1",),
    "memberships": [{"user": "ann", "company": COMPANY}],
    "ping_seconds": 0.5,  # streams are looked after often
}
SMALL = 4_096


class Clock:
    """The clock by which open streams are looked after."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(streaming_handler, "monotonic", clock.monotonic)
    return clock


def sign_in(server: Served) -> None:
    server.headers["X-Forwarded-User"] = "ann"


async def test_reader_who_is_asked_again_and_again_who_it_is_sees_the_whole_answer(
    database_url: str, clock: Clock
) -> None:
    async with ModelServer() as model, serving(database_url, **PROXY, **model.settings) as server:
        sign_in(server)
        conversation = await server.conversation()
        stream = await server.open(stream_path(conversation), method="POST", body={"content": "x"})
        call = await model.call()
        seen: list[Any] = []
        for token in ("one", " two", " three"):
            await call.send(token)
            await stream.event()
            clock.ahead = ACCESS_SECONDS
            seen += await stream.rest()
            assert {event["type"] for event in seen} == {"token"}, "a reader that is sent away gets no event"
            assert stream.last_id is not None
            clock.ahead = 0
            del server.headers["X-Forwarded-User"]  # the proxy names nobody any more
            assert (await server.refused(conversation, last_id=stream.last_id)).error == (401, "Sign in first")
            sign_in(server)
            stream = await server.stream(conversation, last_id=stream.last_id)
        await call.finish()
        seen += await stream.rest()
        assert text_of(seen) == "one two three"
        assert seen[-1]["type"] == "done"
        assert model.calls == 1


async def test_reader_that_waits_for_its_turn_is_sent_away_too(database_url: str, clock: Clock) -> None:
    async with ModelServer() as model, serving(database_url, **PROXY, **model.settings) as server:
        sign_in(server)
        conversation = await server.conversation()
        first = await server.say(conversation, "x")
        holder = await server.stream(conversation, first)
        await model.call()
        queued = await server.stream(conversation, await server.say(conversation, "y"), whenBusy="enqueue")
        clock.ahead = ACCESS_SECONDS
        assert await queued.rest() == []
        assert await holder.rest() == []


async def test_response_whose_client_takes_nothing_is_cut(database_url: str, clock: Clock) -> None:
    async with ModelServer() as model, serving(database_url, send_buffer=SMALL, **PROXY, **model.settings) as server:
        sign_in(server)
        conversation, large = await server.conversation(), await server.conversation()
        say_much(database_url, large)
        export = await server.connect(receive_buffer=SMALL)
        await export.send("GET", f"/api/conversations/{large}/export", headers=server.headers)
        assert (await export.head())[0] == 200
        path = stream_path(conversation)
        stream = await server.open(path, method="POST", body={"content": "x"}, receive_buffer=SMALL)
        call = await model.call()
        for _ in range(20):
            await call.send("x" * 50_000)
        # Both wait for their clients.
        handlers = [handler for handler in server.app.streams._open if isinstance(handler, StreamingHandler)]
        assert len(handlers) == 2
        await eventually(lambda: all(handler.connection.stream.writing() for handler in handlers))
        clock.ahead = ACCESS_SECONDS
        await eventually(lambda: len(server.app.streams) == 0)
        for connection in (export, stream.connection):
            body = b""
            try:
                while piece := await connection.reader.read(1 << 16):
                    body += piece
            except ConnectionResetError:
                continue
            assert not body.endswith(b"0\r\n\r\n"), "nobody may take it for complete"
