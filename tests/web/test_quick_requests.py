"""Requests that arrive whole are read in one step, and responses sent in one: clients cannot tell."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import Iterator

import pytest

from chatserver.services.access import LocalTrusted
from chatserver.web.http import quick_connection, server, slim_handler
from chatserver.web.http.base_handler import Handler
from tests.kit.http_client import COMPANY
from tests.kit.http_connection import Connection
from tests.kit.model_server import ModelServer
from tests.kit.served_app import Served, serving
from tests.kit.waiting import PATIENCE_SECONDS

SESSION = "/api/session"
CONVERSATIONS = f"/api/companies/{COMPANY}/conversations"
UNKNOWN = f"/api/conversations/{COMPANY}"
JSON = "Content-Type: application/json"
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def request(method: str, path: str, *headers: str, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
    lines = ["Host: localhost", "X-Request-Id: the-id", *headers]
    if body and not any("chunked" in header for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"{method} {path} {version}", *lines, "", ""]).encode() + body


REQUESTS = [
    request("GET", SESSION),
    request("HEAD", SESSION),
    request("OPTIONS", SESSION),
    request("DELETE", SESSION),
    request("POST", SESSION),
    request("POST", SESSION, JSON, body=b'{"token":"x"}'),
    request("POST", SESSION, JSON, body=b'{"token":5}'),
    request("POST", SESSION, JSON, body=b'{"token":"x"'),
    request("POST", SESSION, "Content-Type: text/plain", body=b"x"),
    request("POST", SESSION, JSON, "Transfer-Encoding: chunked", body=b'5\r\n{"tok\r\n6\r\nen":1}\r\n0\r\n\r\n'),
    request("POST", SESSION, JSON, body=b'{"token":"' + b"x" * 30_000 + b'"}'),
    request("POST", SESSION, "Content-Length: 2000000"),
    request("POST", SESSION, "Content-Length: 5", "Origin: http://evil.example", body=b""),
    request("POST", SESSION, JSON, "Origin: http://evil.example", body=b"{}"),
    request("POST", SESSION, JSON, "Origin: http://localhost", body=b"{}"),
    request("PUT", SESSION, JSON, body=b"{}"),
    request("BREW", SESSION),
    request("GET", "/api/nowhere"),
    request("GET", "/nowhere"),
    request("GET", UNKNOWN),
    request("GET", "/api/conversations/%ff"),
    request("GET", f"{CONVERSATIONS}?limit=x"),
    request("GET", f"{CONVERSATIONS}?limit=5&cursor=%zz"),
    request("GET", "/api/agents/x"),
    request("GET", f"{UNKNOWN}/stream"),
    request("GET", f"{UNKNOWN}/stream?lastEventId={'0' * 32}.1.end"),
    request("GET", "/healthz", "Connection: close"),
    request("GET", "/healthz", "Connection: Close"),
    request("GET", "/healthz", version="HTTP/1.0"),
    request("GET", "/healthz", "Connection: keep-alive", version="HTTP/1.0"),
    request("GET", "http://localhost/healthz"),
    request("HEAD", "/healthz", version="HTTP/1.0"),
    request("POST", SESSION, JSON, "Connection: keep-alive", body=b"{}", version="HTTP/1.0"),
    request("GET", "/static/index.html", "If-None-Match: *"),
    request("HEAD", "/static/index.html", "If-None-Match: *"),
    request("HEAD", "/static/index.html", "Connection: close"),
    request("HEAD", "/static/index.html", version="HTTP/1.0"),
    request("GET", "/healthz", "Host: localhost"),
    request("GET", "/healthz", "bad header: x"),
]


async def exchange(client: Served, sent: bytes, *, in_pieces: bool) -> tuple[bytes, bool]:
    """The response to a request, up to the end of its connection or of the health check behind it; whether it ended."""
    connection = await client.connect()
    if in_pieces:
        connection.writer.write(sent[:3])
        await connection.writer.drain()
        # Another exchange, so that the server has seen the first piece alone.
        assert (await client.request("GET", "/healthz")).status == 200
    connection.writer.write(sent[3:] if in_pieces else sent)
    connection.writer.write(HEALTHZ.replace(b"\r\n\r\n", b"\r\nX-Request-Id: after\r\n\r\n"))
    await connection.writer.drain()
    received = b""
    while b'{"status":"ok"}' not in received.partition(b"X-Request-Id: after")[2]:
        piece = await connection.reader.read(65_536)
        if not piece:
            return comparable(received), True
        received += piece
    connection.close()
    return comparable(received), False


def comparable(response: bytes) -> bytes:
    """The response without what differs by chance: its time, and the id of a request whose own could not be read."""
    response = re.sub(rb"\r\nDate: [^\r]+ GMT\r\n", b"\r\nDate: now\r\n", response)
    return re.sub(rb"\r\nX-Request-Id: [0-9a-f]{32}\r\n", b"\r\nX-Request-Id: random\r\n", response)


@pytest.mark.parametrize("sent", REQUESTS, ids=range(len(REQUESTS)))
async def test_response_is_the_same_whichever_way_it_goes(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    outcomes = []
    for quick, slim in ((True, True), (False, True), (False, False)):
        monkeypatch.setattr(slim_handler, "SUPPORTED", slim)
        async with serving(module_database_url, fast_flush=quick) as client:
            outcomes += [await exchange(client, sent, in_pieces=in_pieces) for in_pieces in (False, True)]
    first, *others = outcomes
    assert re.match(rb"HTTP/1.1 [1-5]\d\d ", first[0])
    for other in others:
        assert other == first


async def test_request_that_arrives_whole_is_read_in_one_step(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> bool:
        raise AssertionError

    async with serving(module_database_url) as client:
        monkeypatch.setattr(quick_connection.HTTP1Connection, "read_response", refuse)
        assert (await client.request("GET", "/healthz")).status == 200
        assert (await client.request("POST", CONVERSATIONS, {"title": "x"})).status == 201


async def test_requests_in_one_segment_are_answered_in_their_order(module_database_url: str) -> None:
    async with serving(module_database_url) as client:
        connection = await client.connect()
        bodies = [json.dumps({"title": f"title {number}"}).encode() for number in range(20)]
        connection.writer.write(b"".join(request("POST", CONVERSATIONS, JSON, body=body) for body in bodies))
        for number in range(20):
            status, headers = await connection.head()
            resource = json.loads(await connection.read(int(headers["content-length"])))
            assert (status, resource["title"]) == (201, f"title {number}")


async def test_client_that_sends_many_requests_at_once_takes_turns_with_others(module_database_url: str) -> None:
    async with serving(module_database_url) as client:
        greedy, other = await client.connect(), await client.connect()
        greedy.writer.write(HEALTHZ * 300 + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await greedy.head()
        other.writer.write(HEALTHZ)
        assert (await other.head())[0] == 200
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await greedy.reader.read()).count(b'{"status":"ok"}') == 301


async def test_client_that_closes_its_side_after_the_request_gets_the_response(module_database_url: str) -> None:
    async with serving(module_database_url) as client:
        for sent in (HEALTHZ, request("POST", SESSION, JSON, body=b"{}"), request("GET", SESSION)):
            connection = await client.connect()
            connection.writer.write(sent)
            connection.writer.write_eof()
            assert (await connection.head())[0] in (200, 204)


async def test_idle_connection_is_closed_and_an_open_stream_is_not(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_CONNECTION_SECONDS", 0.3)
    async with ModelServer() as model, serving(module_database_url, **model.settings) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        call = await model.call()
        await call.send("part")
        await stream.event()
        idle: list[Connection] = []
        for _ in range(3):
            idle.append(await client.connect())
            idle[-1].writer.write(HEALTHZ)
            status, headers = await idle[-1].head()
            assert status == 200
            await idle[-1].read(int(headers["content-length"]))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert [await connection.read() for connection in idle] == [b""] * 3
        await call.finish()
        assert (await stream.rest())[-1]["type"] == "done"


async def test_handler_that_hangs_does_not_hold_up_the_end(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CLOSE_SECONDS", 0.1)
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang(*_: object) -> None:
        begun.set()
        await never.wait()

    monkeypatch.setattr(LocalTrusted, "authenticate", hang)
    async with serving(module_database_url) as client:
        connection = await client.connect()
        connection.writer.write(request("GET", UNKNOWN))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await begun.wait()
    assert await connection.read() == b""
    never.set()


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What is found when the garbage is collected, which a test does itself."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


async def test_request_leaves_no_cycles_behind(module_database_url: str, garbage: list[object]) -> None:
    async with serving(module_database_url) as client:
        connection = await client.connect()
        for sent, expected in (
            (request("GET", SESSION), 200),
            (request("POST", CONVERSATIONS, JSON, body=b"{}"), 201),
            (request("DELETE", SESSION), 204),
            (request("GET", UNKNOWN), 404),
            (request("POST", CONVERSATIONS, JSON, body=b'{"title":5}'), 400),
        ):
            connection.writer.write(sent)
            status, headers = await connection.head()
            await connection.read(int(headers.get("content-length", "0")))
            assert status == expected
        assert (await client.request("GET", "/healthz")).status == 200
        gc.collect()
        assert [each for each in garbage if isinstance(each, Handler)] == []
