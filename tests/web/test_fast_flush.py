"""Bytes that go straight to the socket are those that Tornado would send, whatever the client does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from chatserver import logs
from chatserver.live.reader import BATCH_FRAMES, Reader
from chatserver.metrics import Metrics
from chatserver.settings import Settings
from chatserver.web.handlers.answer_stream import StreamHandler
from chatserver.web.http import fast_flush
from chatserver.web.http.fast_flush import FastFlush, LoopTurns
from chatserver.web.http.server import Server
from tests.kit.event_stream import text_of
from tests.kit.http_client import Client, stream_path
from tests.kit.http_connection import Connection
from tests.kit.model_server import ModelServer
from tests.kit.served_app import Served, serving
from tests.kit.waiting import PATIENCE_SECONDS, eventually

ORIGIN = "https://chat.example"
# Smaller than the answer, so that each write is a short one.
SMALL_BUFFER = 4_096
LONG = 400_000
# The most that is handed to Tornado ahead for one client.
BATCH_BYTES = 64 * 1024

Exchange = Callable[[Served, str], Any]


def test_parts_of_tornado_that_are_needed_are_there() -> None:
    assert fast_flush.SUPPORTED


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\rb", "a\nb"])
def test_head_with_a_line_end_in_a_header_is_refused(value: str) -> None:
    headers = HTTPHeaders({"Content-Type": "text/plain"})
    headers.add("Vary", "Origin")
    headers.add("Vary", "Accept")
    assert fast_flush.head(200, "OK", headers) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nVary: Origin\r\nVary: Accept\r\n\r\n"
    )
    headers["X-Made-Up"] = value
    with pytest.raises(ValueError, match="line end"):
        fast_flush.head(200, "OK", headers)


# --- both ways ------------------------------------------------------------------------------------------------------


async def answered(client: Client, question: str) -> str:
    """The path of a stream whose answer is stored: it is the same each time."""
    conversation = await client.conversation()
    trigger = await client.say(conversation, question)
    await (await client.stream(conversation, trigger)).rest()
    return stream_path(conversation, trigger)


async def whole(client: Client, *requests: bytes, receive_buffer: int | None = None) -> bytes:
    """All that the server sends until it closes the connection."""
    connection = await client.connect(receive_buffer=receive_buffer)
    for request in requests:
        connection.writer.write(request)
    await connection.writer.drain()
    return await connection.read()


def open_handlers(client: Served) -> list[StreamHandler]:
    return [stream for stream in client.app.streams._open if isinstance(stream, StreamHandler)]


def get(path: str, *headers: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    lines = [f"{method} {path} {version}", "Host: localhost", "X-Request-Id: the-same", *headers, "", ""]
    return "\r\n".join(lines).encode()


async def one_request(client: Client, path: str) -> bytes:
    return await whole(client, get(path, "Connection: close"))


async def request_of_another_site(client: Client, path: str) -> bytes:
    return await whole(client, get(path, f"Origin: {ORIGIN}", "Connection: close"))


async def http_1_0(client: Client, path: str) -> bytes:
    return await whole(client, get(path, version="HTTP/1.0"))


async def http_1_0_that_asks_to_be_kept(client: Client, path: str) -> bytes:
    return await whole(client, get(path, "Connection: keep-alive", version="HTTP/1.0"))


async def head(client: Client, path: str) -> bytes:
    return await whole(client, get(path, "Connection: close", method="HEAD"))


async def pipelined_requests(client: Client, path: str) -> bytes:
    return await whole(client, get(path) * 3 + get("/healthz") + get(path, "Connection: close"))


async def connection_that_is_used_again(client: Client, path: str) -> bytes:
    connection = await client.connect()
    received = b""
    for number in range(3):
        connection.writer.write(get(path, *["Connection: close"] * (number == 2)))
        response = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not response.endswith(b"0\r\n\r\n"):
                response += await connection.reader.read(SMALL_BUFFER)
        received += response
    return received + await connection.read()


async def client_back_in_the_middle(client: Client, path: str) -> bytes:
    stream = await client.open(path)
    await stream.event()
    stream.leave()
    return await whole(client, get(path, f"Last-Event-ID: {stream.last_id}", "Connection: close"))


async def client_with_a_foreign_id(client: Client, path: str) -> bytes:
    return await whole(client, get(path, "Last-Event-ID: foreign", "Connection: close"))


async def client_that_has_the_end(client: Client, path: str) -> bytes:
    stream = await client.open(path)
    await stream.rest()
    return await whole(client, get(path, f"Last-Event-ID: {stream.last_id}", "Connection: close"))


async def client_that_reads_late(client: Served, path: str) -> bytes:
    connection = await client.connect(receive_buffer=SMALL_BUFFER)
    connection.writer.write(get(path, "Connection: close"))
    first = await connection.read(1)
    await eventually(lambda: all(handler._outlet and handler._outlet.blocked for handler in open_handlers(client)))
    return first + await connection.read()


EXCHANGES: list[Exchange] = [
    one_request,
    request_of_another_site,
    http_1_0,
    http_1_0_that_asks_to_be_kept,
    head,
    pipelined_requests,
    connection_that_is_used_again,
    client_back_in_the_middle,
    client_with_a_foreign_id,
    client_that_has_the_end,
    client_that_reads_late,
]


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("question", ["short", "x" * LONG])
async def test_both_ways_give_the_same_bytes(module_database_url: str, exchange: Exchange, question: str) -> None:
    options: dict[str, Any] = {"allowed_origins": (ORIGIN,), "max_message_chars": LONG}
    async with serving(module_database_url, **options) as client:
        path = await answered(client, question)
    received = []
    for fast in (True, False):
        buffer = SMALL_BUFFER if len(question) == LONG else None
        async with serving(module_database_url, fast_flush=fast, send_buffer=buffer, **options) as client:
            received.append(re.sub(rb"Date: [^\r]+", b"Date: now", await exchange(client, path)))
    assert received[0] == received[1]
    assert received[0].startswith(b"HTTP/1.1 ")


# --- the pump -------------------------------------------------------------------------------------------------------


def waiting_bytes(handler: StreamHandler) -> int:
    """How much of a response Tornado holds."""
    return len(handler.connection.stream._write_buffer)


async def test_client_that_reads_nothing_costs_one_batch_only(database_url: str) -> None:
    """Its frames are the journal's. When it reads on, it gets all of them."""
    async with ModelServer() as model, serving(database_url, send_buffer=SMALL_BUFFER, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        slow = await client.open(stream_path(conversation, question), receive_buffer=SMALL_BUFFER)
        (handler,) = open_handlers(client)
        fast = await client.stream(conversation, question)
        call = await model.call()
        pieces = [f"{number:08} " + "x" * 2_000 for number in range(200)]
        for piece in pieces:
            await call.send(piece)
            assert (await fast.event())["content"] == piece
            assert waiting_bytes(handler) <= BATCH_BYTES
        assert waiting_bytes(handler) > 0
        await call.finish()
        assert text_of(await slow.rest()) == "".join(pieces)


class DefectiveReader(Reader):
    __slots__ = ()

    def take(self, limit: int = BATCH_FRAMES) -> Sequence[bytes]:
        raise ZeroDivisionError


async def test_defect_in_one_pump_cuts_only_its_client_off(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        broken = await client.stream(conversation, question)
        await broken.opened()
        (handler,) = open_handlers(client)
        others = [await client.stream(conversation, question) for _ in range(3)]
        assert handler._reader is not None
        handler._reader.__class__ = DefectiveReader
        call = await model.call()
        await call.send("an", " answer")
        for other in others:
            assert (await other.event())["content"] == "an"
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await broken.rest()
        assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == [
            "a stream is cut off"
        ]
        caplog.clear()
        await call.finish()
        for other in others:
            assert text_of(await other.rest()) == "an answer"
        back = await client.stream(conversation, question, last_id=broken.last_id)
        assert text_of(await back.rest()) == "an answer"


async def test_tokens_of_one_turn_leave_in_two_sends(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first at once, the others together at the end of the turn; each is a chunk of its own."""
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        stream = await client.stream(conversation, await client.say(conversation, "x"))
        await stream.opened()
        await model.call()
        (run,) = client.app.answers
        sends: list[bytes] = []
        send_now = fast_flush._send_now
        monkeypatch.setattr(
            fast_flush, "_send_now", lambda stream, data: (sends.append(data), send_now(stream, data))[1]
        )
        for number in range(10):
            run.journal.append_token(str(number))
        assert len(sends) == 1
        assert [(await stream.event())["content"] for _ in range(10)] == list("0123456789")
        assert [data.count(b"data: ") for data in sends] == [1, 9]
        assert [chunk.count(b"data: ") for chunk in stream.chunks[1:]] == [1] * 10


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_stream_that_ends_while_its_socket_is_full_is_sent_to_its_end(
    database_url: str, version: str, connection: str
) -> None:
    async with ModelServer() as model, serving(database_url, send_buffer=SMALL_BUFFER, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        slow = await client.connect(receive_buffer=SMALL_BUFFER)
        slow.writer.write(get(stream_path(conversation, question), f"Connection: {connection}", version=version))
        await model.call()
        await slow.read(1)
        (handler,) = open_handlers(client)
        (run,) = client.app.answers
        while not (handler._outlet and handler._outlet.blocked):
            run.journal.append_token("x" * 8_000)
            await asyncio.sleep(0)
        client.app.streams.close()
        await eventually(lambda: len(client.app.streams) == 0)
        if (version, connection) == ("HTTP/1.1", "keep-alive"):
            slow.writer.write(get("/healthz", "Connection: close"))
        assert re.search(rb'x"}\n\n(\r\n\w+\r\n)?retry: \d+\n\n', await slow.read())


async def test_response_that_fails_at_the_end_of_a_turn_does_not_hold_up_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turns, called = LoopTurns(), []
    turns.at_end(lambda: called.append(1))
    turns.at_end(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    turns.at_end(lambda: called.append(2))
    await asyncio.sleep(0)
    assert called == [1, 2]
    assert [record.message for record in caplog.records] == ["a response cannot go on"]


async def test_turns_do_not_bear_the_id_of_a_request() -> None:
    turns, ids = LoopTurns(), []
    logs.request_id.set("first")
    turns.at_end(lambda: ids.append(logs.request_id.get()))
    await asyncio.sleep(0)
    assert ids == [None]


async def test_hundreds_of_readers_of_one_answer_all_get_it(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        streams = [await client.stream(conversation, question) for _ in range(300)]
        call = await model.call()
        for number in range(20):
            await call.send(f"{number} ")
        await call.finish()
        texts = {text_of(await stream.rest()) for stream in streams}
        assert texts == {"".join(f"{number} " for number in range(20))}
        await eventually(lambda: len(client.app.streams) == 0)


# --- whole responses ------------------------------------------------------------------------------------------------

BODY = b"y" * 300_000
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Responding(RequestHandler):
    """Responds at once with RESPONSE: as Tornado does if `ways` refuses."""

    def initialize(self, ways: FastFlush) -> None:
        self.ways = ways

    def get(self) -> None:
        for name in ("Server", "Date", "Content-Type"):
            self.clear_header(name)
        self.set_header("Content-Length", len(BODY))
        if self.ways.respond(self, [BODY[:1_000], BODY[1_000:]]) is None:
            self.finish(BODY)
        else:
            self._finished = True

    head = get

    def compute_etag(self) -> None:
        return None


@asynccontextmanager
async def responding(*, enabled: bool) -> AsyncIterator[Client]:
    settings, metrics = Settings(), Metrics("0")
    app = Application([("/", Responding, {"ways": FastFlush(enabled=enabled)})])
    server = Server(app, settings=settings, metrics=metrics)  # type: ignore[arg-type]
    sockets = bind_sockets(0, "127.0.0.1")
    sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    server.add_sockets(sockets)
    client = Client(sockets[0].getsockname()[1])
    yield client
    await client.close()
    server.stop()
    await server.close_all_connections()


@pytest.mark.parametrize("enabled", [True, False])
async def test_connection_serves_further_requests_after_a_whole_response(enabled: bool) -> None:
    async with responding(enabled=enabled) as client:
        connection = await client.connect()
        for _ in range(3):
            connection.writer.write(get("/"))
            assert await connection.read(len(RESPONSE)) == RESPONSE
        pipelined = get("/") * 3 + get("/", method="HEAD") + get("/", "Connection: close")
        received = await whole(client, pipelined)
        assert received.startswith(3 * RESPONSE)
        last = RESPONSE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        assert received.endswith(last)
        assert len(received) == 3 * len(RESPONSE) + (len(RESPONSE) - len(BODY)) + len(last)


async def test_client_that_leaves_during_a_whole_response_disturbs_nobody() -> None:
    async with responding(enabled=True) as client:
        connections: list[Connection] = [await client.connect(receive_buffer=SMALL_BUFFER) for _ in range(4)]
        for connection in connections:
            connection.writer.write(get("/"))
            await connection.read(10)
        for connection in connections[:2]:
            connection.reset()
        for connection in connections[2:]:
            with contextlib.closing(connection):
                assert RESPONSE[:10] + await connection.read(len(RESPONSE) - 10) == RESPONSE
