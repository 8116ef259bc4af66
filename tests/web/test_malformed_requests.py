"""Requests that never reach a handler: they get the same kind of response as others, and one line of the log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from chatserver.web.http import server_stream
from chatserver.web.routes import ROUTES
from tests.kit.http_client import COMPANY
from tests.kit.http_connection import Connection, dechunk
from tests.kit.served_app import Served, serving
from tests.kit.waiting import PATIENCE_SECONDS

PATHS = [re.sub(r"{\w+}", COMPANY, route.path) for route in ROUTES]
PATHS += ["/healthz", "/readyz", "/metrics", "/static/chat.js", "/", "/c/x", "/nowhere", "/api/nowhere"]
HOST = b"Host: localhost\r\n"


def post(headers: bytes, body: bytes = b"", path: bytes = b"/api/session") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + headers + b"\r\n" + body


# request, status, error, and the method and path that the log has
TABLE: list[tuple[bytes, int, str, str, str]] = [
    (b"\r\n\r\n", 400, "Malformed HTTP request", "", ""),
    (b"rubbish\r\n\r\n", 400, "Malformed HTTP request", "", ""),
    (b"\x16\x03\x01\x02\x00\r\n\r\n", 400, "Malformed HTTP request", "", ""),
    (b"GET\r\n\r\n", 400, "Malformed HTTP request", "", ""),
    (b"GET /healthz\r\n\r\n", 400, "Malformed HTTP request", "GET", "/healthz"),
    (b"GET  /healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400, "Malformed HTTP request", "", ""),
    (b"GET /health z HTTP/1.1\r\n" + HOST + b"\r\n", 400, "Malformed HTTP request", "GET", "/health"),
    (b"GET /healthz HTTP/9.9\r\n" + HOST + b"\r\n", 400, "Malformed HTTP request", "GET", "/healthz"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "Malformed HTTP request", "PRI", "*"),
    (
        b"GET /healthz?secret=1 HTTP/1.1\r\n" + HOST + b"Bad Header\r\n\r\n",
        400,
        "Malformed HTTP request",
        "GET",
        "/healthz",
    ),
    (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Bad Header: x\r\n\r\n", 400, "Malformed HTTP request", "GET", "/healthz"),
    (b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: \x01\r\n\r\n", 400, "Malformed HTTP request", "GET", "/healthz"),
    (b"GET /healthz HTTP/1.1\r\n" + HOST + b" folded: x\r\n\r\n", 400, "Malformed HTTP request", "GET", "/healthz"),
    (b"GET /healthz HTTP/1.1\r\n\r\n", 400, "Host is missing", "GET", "/healthz"),
    (b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400, "Host is given more than once", "GET", "/healthz"),
    (b"GET /healthz HTTP/1.1\r\nHost: a@localhost\r\n\r\n", 400, "Host is malformed", "GET", "/healthz"),
    (b"GET /healthz HTTP/1.1\r\nHost: localhost,localhost\r\n\r\n", 400, "Host is malformed", "GET", "/healthz"),
    (b"GET http://a@localhost/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "Host is malformed", "GET", "http://a@localhost/"),
    (b"GET http://localhost/healthz HTTP/1.1\r\n\r\n", 400, "Host is missing", "GET", "http://localhost/healthz"),
    (
        b"GET /?" + b"a&" * 1_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        400,
        "More than 1,000 query parameters",
        "GET",
        "/",
    ),
    (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431, "Request headers are too large", "", ""),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"x" * 70_000 + b"\r\n\r\n", 431, "Request headers are too large", "", ""),
    (post(b"Content-Length: x\r\n"), 400, "Content-Length is not one number", "POST", "/api/session"),
    (post(b"Content-Length: -1\r\n"), 400, "Content-Length is not one number", "POST", "/api/session"),
    (post(b"Content-Length: +1\r\n", b"x"), 400, "Content-Length is not one number", "POST", "/api/session"),
    (post(b"Content-Length: 1_0\r\n", b"x"), 400, "Content-Length is not one number", "POST", "/api/session"),
    (post(b"Content-Length:\r\n"), 400, "Content-Length is not one number", "POST", "/api/session"),
    (post(b"Content-Length: 1, 2\r\n", b"xx"), 400, "Content-Length is not one number", "POST", "/api/session"),
    (
        post(b"Content-Length: 1\r\nContent-Length: 2\r\n", b"xx"),
        400,
        "Content-Length is not one number",
        "POST",
        "/api/session",
    ),
    (post(b"Content-Length: " + b"9" * 5_000 + b"\r\n"), 413, "Request body is too large", "POST", "/api/session"),
    (
        post(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        400,
        "Content-Length and Transfer-Encoding are both given",
        "POST",
        "/api/session",
    ),
    (post(b"Transfer-Encoding: gzip\r\n"), 400, "Transfer-Encoding is not chunked", "POST", "/api/session"),
    (post(b"Transfer-Encoding: gzip, chunked\r\n"), 400, "Transfer-Encoding is not chunked", "POST", "/api/session"),
    (post(b"Transfer-Encoding: chunked\r\n", b"xyz\r\n\r\n"), 400, "Malformed chunked body", "POST", "/api/session"),
    (post(b"Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n"), 400, "Malformed chunked body", "POST", "/api/session"),
    (post(b"Transfer-Encoding: chunked\r\n", b"5\r\nabcdeXX"), 400, "Malformed chunked body", "POST", "/api/session"),
    (post(b"Transfer-Encoding: chunked\r\n", b"0\r\nXX"), 400, "Malformed chunked body", "POST", "/api/session"),
    (post(b"Transfer-Encoding: chunked\r\n", b"0" * 100), 400, "Malformed chunked body", "POST", "/api/session"),
]


async def response_to(server: Served, request: bytes, *, half_close: bool = False) -> tuple[int, HTTPHeaders, bytes]:
    """The only response to these bytes, after which the server closes the connection."""
    connection = await server.connect()
    connection.writer.write(request)
    await connection.writer.drain()
    if half_close:
        connection.writer.write_eof()
    status, headers = await connection.head()
    raw = await connection.read()
    return status, headers, dechunk(raw) if headers.get("transfer-encoding") == "chunked" else raw


def access_lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record.__dict__["fields"] for record in caplog.records if record.name == "chatserver.access"]


@pytest.mark.parametrize(("request_bytes", "status", "error", "method", "path"), TABLE)
@pytest.mark.parametrize("half_close", [False, True])
async def test_malformed_request_gets_json_an_id_and_one_line_of_the_log(
    module_database_url: str,
    caplog: pytest.LogCaptureFixture,
    request_bytes: bytes,
    status: int,
    error: str,
    method: str,
    path: str,
    half_close: bool,
) -> None:
    caplog.set_level(logging.INFO, "chatserver")
    async with serving(module_database_url) as server:
        got, headers, body = await response_to(server, request_bytes, half_close=half_close)
        assert (got, json.loads(body)) == (status, {"error": error})
        assert len(headers["x-request-id"]) == 32
        assert headers["content-type"] == "application/json"
        assert headers["cache-control"] == "no-store"
        assert headers["connection"] == "close"
        assert "server" not in headers
        (line,) = access_lines(caplog)
        assert (line["method"], line["path"], line["status"]) == (method, path, status)
        assert [record for record in caplog.records if record.exc_info or record.levelno > logging.INFO] == []
        assert (await server.request("GET", "/healthz")).status == 200
        metrics = (await server.request("GET", "/metrics")).body.decode()
        if status != 413:  # that one a handler refused
            assert re.search(rf'chatserver_requests_total{{handler="Refusal",.*status="{status}"}} 1.0', metrics)


async def test_malformed_head_request_gets_no_body(module_database_url: str) -> None:
    async with serving(module_database_url) as server:
        status, _, body = await response_to(server, b"HEAD / HTTP/1.1\r\n\r\n")
        assert (status, body) == (400, b"")


@pytest.mark.parametrize("path", PATHS)
async def test_malformed_request_is_refused_on_every_route(module_database_url: str, path: str) -> None:
    async with serving(module_database_url) as server:
        for request in (
            post(b"Content-Length: x\r\n", path=path.encode()),
            post(b"Transfer-Encoding: chunked\r\n", b"x\r\n", path=path.encode()),
            f"GET {path} HTTP/1.1\r\n\r\n".encode(),
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".encode(),
            f"GET {path}?{'&' * 1_000} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        ):
            status, headers, body = await response_to(server, request)
            assert headers["x-request-id"]
            assert set(json.loads(body)) == {"error"}
            assert status == 400 or (status, b"chunked" in request) in ((404, True), (405, True))


async def test_second_malformed_request_of_a_connection_is_refused_too(module_database_url: str) -> None:
    async with serving(module_database_url) as server:
        connection = await server.connect()
        await connection.send("GET", "/healthz")
        status, headers = await connection.head()
        await connection.read(int(headers["content-length"]))
        connection.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nbad\r\n\r\n")
        status, headers = await connection.head()
        assert (status, json.loads(await connection.read())) == (400, {"error": "Malformed HTTP request"})


async def test_thousand_query_parameters_are_accepted(module_database_url: str) -> None:
    async with serving(module_database_url) as server:
        path = f"/api/companies/{COMPANY}/conversations?limit=3" + "&a=b" * 999
        assert (await server.request("GET", path)).status == 200
        assert (await server.request("GET", f"{path}&a=b")).error == (400, "More than 1,000 query parameters")


@pytest.mark.parametrize("method", ["BREW", "CONNECT", "TRACE", "get"])
@pytest.mark.parametrize("target", ["/healthz", "/api/session", "/api/nowhere", "localhost:80", "*"])
async def test_unknown_method_gets_405_in_json(module_database_url: str, method: str, target: str) -> None:
    async with serving(module_database_url) as server:
        response = await server.request(method, target)
        assert response.error == (405, "Method not allowed")
        assert response.headers["allow"]


# --- targets in absolute form ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://127.0.0.1:8000/healthz", "127.0.0.1:8000", 200),
        ("http://localhost/healthz?x=1", "localhost", 200),
        ("HTTP://LOCALHOST/healthz", "localhost", 200),
        ("http://[::1]:8000/healthz", "localhost", 200),
        ("http://localhost", "localhost", 200),
        ("http://localhost?x", "localhost", 200),
        ("http://localhost:8000/api/session", "localhost:8000", 200),
        ("http://localhost/nowhere", "localhost", 404),
        # The target's host counts, not the header's (RFC 9112, section 3.2.2).
        ("http://localhost/healthz", "evil.example", 200),
        ("http://evil.example/healthz", "localhost", 403),
        ("http:///healthz", "localhost", 403),
        ("http://localhost:x/healthz", "localhost", 403),
        ("ftp://localhost/healthz", "localhost", 404),
        ("//localhost/healthz", "localhost", 404),
    ],
)
async def test_target_in_absolute_form_is_served_by_its_host(
    module_database_url: str, target: str, host: str, status: int
) -> None:
    async with serving(module_database_url) as server:
        assert (await server.request("GET", target, headers={"Host": host})).status == status


async def test_guards_compare_the_origin_with_the_host_of_an_absolute_target(module_database_url: str) -> None:
    async with serving(module_database_url) as server:
        for origin, status in (("http://localhost:8000", 200), ("http://localhost:9000", 403)):
            headers = {"Host": "localhost:9000", "Origin": origin}
            response = await server.request("GET", "http://localhost:8000/api/session", headers=headers)
            assert response.status == status


# --- heads that take long -------------------------------------------------------------------------------------------


async def trickle(connection: Connection) -> None:
    """Send headers without end, until the server closes the connection."""
    connection.writer.write(b"GET /healthz HTTP/1.1\r\n")
    while not connection.reader.at_eof():
        connection.writer.write(b"A: b\r\n")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("after_another", [False, True])
async def test_head_that_trickles_in_gets_408(
    module_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    after_another: bool,
) -> None:
    caplog.set_level(logging.INFO, "chatserver")
    async with serving(module_database_url) as server:
        if not after_another:
            monkeypatch.setattr(server_stream, "HEAD_SECONDS", 1.0)
        connection = await server.connect()
        if after_another:
            await connection.send("GET", "/healthz")
            _, headers = await connection.head()
            await connection.read(int(headers["content-length"]))
            caplog.clear()
        monkeypatch.setattr(server_stream, "HEAD_SECONDS", 0.2)
        sending = asyncio.create_task(trickle(connection))
        status, headers = await connection.head()
        body = json.loads(await connection.read())
        assert (status, body) == (408, {"error": "The request took too long to arrive"})
        await sending
        (line,) = access_lines(caplog)
        assert line["status"] == 408


async def test_new_connection_that_says_nothing_is_closed_in_silence(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chatserver")
    monkeypatch.setattr(server_stream, "HEAD_SECONDS", 0.1)
    async with serving(module_database_url) as server:
        connection = await server.connect()
        assert await connection.read() == b""
        assert access_lines(caplog) == []


async def test_connection_between_two_requests_may_be_idle_for_longer(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(module_database_url) as server:
        connection = await server.connect()
        for _ in range(2):
            monkeypatch.setattr(server_stream, "HEAD_SECONDS", 15.0)
            await connection.send("POST", f"/api/companies/{COMPANY}/conversations", {})
            status, headers = await connection.head()
            assert status == 201
            await connection.read(int(headers["content-length"]))
            monkeypatch.setattr(server_stream, "HEAD_SECONDS", 0.01)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await connection.reader.read(1)


async def test_pipelined_requests_are_all_served(module_database_url: str) -> None:
    async with serving(module_database_url) as server:
        connection = await server.connect()
        request = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
        connection.writer.write(b"\r\n" + request * 3 + request[:10])
        for rest in (b"", b"", b"", request[10:]):
            connection.writer.write(rest)
            status, headers = await connection.head()
            assert (status, await connection.read(int(headers["content-length"]))) == (200, b'{"status":"ok"}')


async def test_clients_that_leave_in_mid_head_leave_nothing_behind(
    module_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(module_database_url) as server:
        for part in (b"", b"G", b"GET / HTTP/1.1\r\nHost: loc"):
            for how in (Connection.close, Connection.reset):
                connection = await server.connect()
                connection.writer.write(part)
                await connection.writer.drain()
                how(connection)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await server.request("GET", "/healthz")).status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
