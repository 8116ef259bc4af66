"""The bounds of connections, and of the bodies of all requests together."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import socket
from typing import Any, Self

import pytest
from tornado.netutil import bind_sockets

from chatserver.errors import NotFoundError
from chatserver.metrics import Metrics
from chatserver.services.conversations import ConversationService
from chatserver.web.http import accepting, body_limits, lingering
from chatserver.web.http.accepting import SURPLUS, Acceptor
from tests.kit.http_client import COMPANY
from tests.kit.http_connection import Connection
from tests.kit.served_app import Served, serving
from tests.kit.waiting import PATIENCE_SECONDS, eventually

CONVERSATIONS = f"/api/companies/{COMPANY}/conversations"
STREAM = f"/api/conversations/{COMPANY}/stream"


def gauge(metrics: Metrics) -> float:
    return float(metrics.connections.collect()[0].samples[0].value)


async def ask(connection: Connection, path: str, **headers: str) -> tuple[int, Any, bytes]:
    await connection.send("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})
    status, answered = await connection.head()
    if "content-length" in answered:
        return status, answered, await connection.read(int(answered["content-length"]))
    return status, answered, await connection.read()


# --- too many connections -------------------------------------------------------------------------------------------


async def test_connections_beyond_the_limit_get_health_checks_and_a_clear_refusal(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "SILENT_SECONDS", 0.05)
    async with serving(module_database_url, connections=2) as server:
        kept = [await server.connect() for _ in range(2)]
        for connection in kept:
            assert (await ask(connection, "/api/session"))[0] == 200
        for path in ("/healthz", "/readyz", "/metrics", "/"):
            status, headers, _ = await ask(await server.connect(), path)
            assert (status, headers["connection"]) == (200, "close"), path
        for path in ("/api/session", STREAM, "/api/nowhere"):
            status, headers, body = await ask(await server.connect(), path)
            assert (status, json.loads(body)) == (503, {"error": "Too many connections are open"})
            assert (headers["connection"], headers["retry-after"]) == ("close", "1")
        # A client that reconnects to its stream is told to come back.
        status, _, body = await ask(await server.connect(), STREAM, Last_Event_ID="x")
        assert (status, b"retry: " in body) == (200, True)
        # Those within the limit are served as ever.
        assert (await ask(kept[0], "/api/session"))[0] == 200
        kept[0].close()
        await eventually(lambda: gauge(server.app.metrics) == 1)
        status, headers, _ = await ask(await server.connect(), "/api/session")
        assert (status, "connection" in headers) == (200, False)


async def test_server_stops_accepting_and_says_so_once(
    module_database_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "chatserver.web.http.accepting")
    monkeypatch.setattr(accepting, "RECOVERED_SECONDS", 0.1)
    async with serving(module_database_url, connections=2) as server:
        held = [await server.connect() for _ in range(2 + SURPLUS)]
        await eventually(lambda: gauge(server.app.metrics) == 2 + SURPLUS)
        waiting = await server.connect()  # by the kernel
        await waiting.send("GET", "/healthz")
        await eventually(lambda: len(caplog.messages) == 1)
        for _ in range(3):  # of those that wait each takes the place of one that leaves
            held.pop().close()
            assert (await waiting.head())[0] == 200
            waiting.close()
            waiting = await server.connect()
            await waiting.send("GET", "/healthz")
            held.append(await server.connect())
        for connection in (*held, waiting):
            connection.close()
        await eventually(lambda: gauge(server.app.metrics) == 0)
        await eventually(lambda: len(caplog.messages) == 2)
        assert caplog.messages == [
            f"{2 + SURPLUS} connections are open, all that the limit of open files allows: new ones wait",
            "connections are accepted again",
        ]
        assert (await server.request("GET", "/api/session")).status == 200


async def test_stop_while_connections_wait_leaves_nothing_behind(module_database_url: str) -> None:
    async with serving(module_database_url, connections=1) as server:
        for _ in range(4 + SURPLUS):
            await server.connect()
        await eventually(lambda: gauge(server.app.metrics) == 1 + SURPLUS)


# --- connections of one address -------------------------------------------------------------------------------------


class Accepted:
    """Accepts connections on a socket of its own; a test sees whose they are."""

    def __init__(self, **limits: Any) -> None:
        self.metrics = Metrics("test")
        self.acceptor = Acceptor(self._connected, self.metrics, limit=100, **limits)
        self.open: list[tuple[socket.socket, Any]] = []
        sockets = bind_sockets(0, "127.0.0.1")
        self.acceptor.add(sockets)
        self.port = sockets[0].getsockname()[1]

    def _connected(self, connection: socket.socket, address: Any, surplus: bool) -> None:
        assert not surplus
        self.open.append((connection, address))

    def refused(self) -> float:
        return float(self.metrics.connections_refused.collect()[0].samples[0].value)

    def close_one(self) -> None:
        connection, address = self.open.pop()
        connection.close()
        self.acceptor.gone(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.acceptor.stop()
        while self.open:
            self.close_one()


async def test_address_with_too_many_connections_gets_no_more() -> None:
    with Accepted(per_address=2) as server:
        connections = [await Connection.open(server.port) for _ in range(4)]
        await eventually(lambda: server.refused() == 2)
        assert [await connection.read() for connection in connections[2:]] == [b"", b""]
        assert (len(server.open), gauge(server.metrics)) == (2, 2)
        server.close_one()
        connections += [await Connection.open(server.port) for _ in range(2)]
        await eventually(lambda: server.refused() == 3)
        assert len(server.open) == 2
        for connection in connections:
            connection.close()


async def test_connection_that_cannot_be_served_is_closed_and_not_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Accepted(per_address=2) as server:

        def fail(*_: object) -> None:
            raise OSError("no memory")

        with monkeypatch.context() as failing:
            failing.setattr(server.acceptor, "_on_connection", fail)
            for _ in range(3):
                connection = await Connection.open(server.port)
                assert await connection.read() == b""
                connection.close()
        assert [record.getMessage() for record in caplog.records] == ["a connection could not be served"] * 3
        assert (gauge(server.metrics), server.refused()) == (0, 0)
        connections = [await Connection.open(server.port) for _ in range(2)]
        await eventually(lambda: len(server.open) == 2)
        for connection in connections:
            connection.close()


async def test_addresses_that_many_share_are_not_counted() -> None:
    shared: dict[str, Any] = {"per_address": 2, "uncounted": (ipaddress.ip_network("127.0.0.1"),)}
    for limits in ({}, shared):
        with Accepted(**limits) as server:
            connections = [await Connection.open(server.port) for _ in range(4)]
            await eventually(lambda: len(server.open) == 4)
            for connection in connections:
                connection.close()


async def test_server_does_not_count_connections_of_its_own_machine(module_database_url: str) -> None:
    async with serving(module_database_url, max_connections_per_address=2) as client:
        for connection in [await client.connect() for _ in range(5)]:
            assert (await ask(connection, "/healthz"))[0] == 200


# --- the bodies of all requests -------------------------------------------------------------------------------------


async def begin_body(server: Served, framing: str, body: bytes) -> Connection:
    connection = await server.connect()
    head = f"POST {CONVERSATIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    connection.writer.write(head.encode() + body)
    await connection.writer.drain()
    return connection


async def refused_body(connection: Connection) -> None:
    status, headers = await connection.head()
    body = json.loads(await connection.read())
    assert (status, body) == (503, {"error": "Too many requests are being received"})
    assert (headers["retry-after"], headers["connection"]) == ("1", "close")


async def test_bodies_of_all_requests_together_are_bounded(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_limits, "ALL_BODIES_BYTES", 40_000)
    async with serving(module_database_url, max_body_bytes=20_000) as server:
        unfinished = [await begin_body(server, "Content-Length: 20000", b" " * 19_500) for _ in range(2)]
        # The bound is on what was received, so two refusals come when the bytes are there.
        await eventually(lambda: held_bytes(server) == 39_000)
        await refused_body(await begin_body(server, "Content-Length: 2000\r\nExpect: 100-continue", b""))
        await refused_body(await begin_body(server, "Content-Length: 2000", b" " * 2_000))
        await refused_body(await begin_body(server, "Transfer-Encoding: chunked", b"7d0\r\n" + b" " * 2_000))
        assert (await server.request("POST", CONVERSATIONS, {})).status == 201
        assert (await server.request("GET", CONVERSATIONS)).status == 200
        unfinished[0].reset()
        await eventually(lambda: held_bytes(server) == 19_500)
        assert (await server.request("POST", CONVERSATIONS, {"title": "t", "more": "x" * 2_000})).status == 201
        unfinished[1].writer.write(b" " * 498 + b"{}")
        assert (await unfinished[1].head())[0] == 201
        assert held_bytes(server) == 0


async def test_every_response_gives_the_body_back(module_database_url: str) -> None:
    async with serving(module_database_url, max_body_bytes=20_000, requests_per_minute=8) as server:
        for body, framing in (
            (b"{}", "Content-Length: 2"),
            (b"[]", "Content-Length: 2"),
            (b"no", "Content-Length: 2"),
            (b"2\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
            (b"2\r\n{}xx", "Transfer-Encoding: chunked"),
            (b"4e20\r\n" + b"x" * 20_000 + b"\r\n1\r\nx", "Transfer-Encoding: chunked"),
            (b"{", "Content-Length: 2"),
        ):
            connection = await begin_body(server, framing, body)
            if body == b"{":
                connection.close()
            else:
                await connection.head()
            await eventually(lambda: held_bytes(server) == 0)
        for path in ("/api/session", "/healthz", "/api/nowhere", f"/api/conversations/{COMPANY}/pin"):
            await server.request("POST", path, b"x" * 100)
            assert held_bytes(server) == 0


@pytest.mark.parametrize("fast_flush", [True, False])
@pytest.mark.parametrize(
    ("method", "work"),
    [("GET", "get_conversation"), ("HEAD", "get_conversation"), ("DELETE", "soft_delete_conversation")],
)
async def test_body_that_nobody_reads_is_not_kept_while_the_handler_works(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch, method: str, work: str, fast_flush: bool
) -> None:
    begun, over = asyncio.Event(), asyncio.Event()

    async def hang(*_: object) -> None:
        begun.set()
        await over.wait()
        raise NotFoundError

    monkeypatch.setattr(ConversationService, work, hang)
    async with serving(module_database_url, fast_flush=fast_flush) as server:
        connection = await server.connect()
        head = f"{method} /api/conversations/{COMPANY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n"
        connection.writer.write(head.encode() + b"x" * 5_000)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await begun.wait()
        assert held_bytes(server) == 0
        over.set()
        assert (await connection.head())[0] == 404


def held_bytes(server: Served) -> int:
    held: int = server.app.web.bodies.held_bytes
    return held
