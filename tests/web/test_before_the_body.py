"""What is refused by its headers is refused before the body is read, on every route that takes one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from chatserver.errors import NotSignedInError
from chatserver.services.access import LocalTrusted
from chatserver.web.http import body_limits, lingering
from chatserver.web.routes import BESIDE_THE_API, ROUTES
from tests.kit.http_client import COMPANY, Client
from tests.kit.http_connection import Connection
from tests.kit.served_app import serving
from tests.kit.waiting import PATIENCE_SECONDS, eventually

CONVERSATIONS = f"/api/companies/{COMPANY}/conversations"
PATHS = [re.sub(r"{\w+}", COMPANY, route.path) for route in ROUTES]
BESIDE = ["/healthz", "/readyz", "/metrics", "/static/chat.js", "/", "/c/x", "/help", "/nowhere", "/api/nowhere"]
EVIL = {"Host": "evil.example"}
MEGABYTE = b"x" * 2**20


async def begin(client: Client, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Connection:
    """Send a request whose body may be incomplete."""
    connection = await client.connect()
    lines = {"Host": "localhost", "Content-Type": "application/json", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    connection.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    await connection.writer.drain()
    return connection


async def refusal(connection: Connection, status: int) -> Any:
    """The body of a response with that status, after which the server closes the connection."""
    got, headers = await connection.head()
    body = json.loads(await connection.read(int(headers["content-length"])))
    assert (got, headers["connection"]) == (status, "close"), body
    assert headers["x-request-id"]
    assert await connection.read() == b""
    return body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
@pytest.mark.parametrize(
    "framing",
    [
        {"Content-Length": str(2**20)},
        {"Content-Length": "5", "Expect": "100-continue"},
        {"Content-Length": "5", "Expect": "100-Continue"},
        {"Transfer-Encoding": "chunked"},
        {"Transfer-Encoding": "chunked", "Expect": "100-continue"},
    ],
)
async def test_request_of_another_site_is_refused_before_its_body_on_every_route(
    module_database_url: str, method: str, framing: dict[str, str]
) -> None:
    async with serving(module_database_url) as client:
        for path in PATHS + BESIDE:
            connection = await begin(client, method, path, {**framing, **EVIL})
            assert await refusal(connection, 403) == {"error": "Host is not a name of this server"}


@pytest.mark.parametrize("length", [2**20, 2**20 + 7 * 2**20])
async def test_client_that_sends_its_whole_body_first_sees_the_refusal(module_database_url: str, length: int) -> None:
    async with serving(module_database_url) as client:
        for headers in (EVIL, {"Origin": "http://localhost:1"}, {"Sec-Fetch-Site": "same-site"}):
            connection = await begin(client, "POST", CONVERSATIONS, {"Content-Length": str(length), **headers})
            for _ in range(length // len(MEGABYTE)):
                connection.writer.write(MEGABYTE)
                await connection.writer.drain()
            await refusal(connection, 403)


async def test_request_that_is_not_signed_in_is_refused_before_its_body(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(*_: object) -> None:
        raise NotSignedInError

    monkeypatch.setattr(LocalTrusted, "authenticate", nobody)
    async with serving(module_database_url) as client:
        for path in PATHS:
            if path not in ("/api/session", "/api/openapi.json"):
                connection = await begin(client, "POST", path, {"Content-Length": "9", "Expect": "100-continue"})
                await refusal(connection, 401)


@pytest.mark.parametrize(("method", "path"), [("POST", "/healthz"), ("PUT", CONVERSATIONS), ("PATCH", "/")])
async def test_method_that_a_path_does_not_have_is_refused_before_the_body(
    module_database_url: str, method: str, path: str
) -> None:
    async with serving(module_database_url) as client:
        connection = await begin(client, method, path, {"Content-Length": "9", "Expect": "100-continue"})
        assert await refusal(connection, 405) == {"error": "Method not allowed"}


async def test_refused_request_is_followed_by_no_other_on_its_connection(module_database_url: str) -> None:
    async with serving(module_database_url) as client:
        hidden = json.dumps({"title": "hidden"}).encode()
        second = f"POST {CONVERSATIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
        second += f"Content-Length: {len(hidden)}\r\n\r\n".encode() + hidden
        connection = await begin(client, "POST", CONVERSATIONS, {"Content-Length": "2", **EVIL}, b"{}" + second)
        await refusal(connection, 403)
        assert (await client.ok("GET", f"{CONVERSATIONS}?q=hidden"))["items"] == []


async def test_refused_request_without_body_leaves_the_connection_open(module_database_url: str) -> None:
    async with serving(module_database_url) as client:
        connection = await client.connect()
        for method, path, headers, status in (
            ("GET", "/api/session", EVIL, 403),
            ("POST", "/api/session", EVIL, 403),
            ("GET", "/api/nowhere", {}, 404),
            ("POST", "/healthz", {}, 405),
            ("GET", "/healthz", {}, 200),
        ):
            await connection.send(method, path, None, headers)
            got, answered = await connection.head()
            assert (got, answered.get("connection")) == (status, None)
            await connection.read(int(answered["content-length"]))


async def test_allowed_request_is_told_to_continue_and_gets_its_body_read(module_database_url: str) -> None:
    async with serving(module_database_url) as client:
        for expectation in ("100-continue", "100-Continue"):
            connection = await begin(client, "POST", CONVERSATIONS, {"Content-Length": "2", "Expect": expectation})
            assert (await connection.head())[0] == 100
            connection.writer.write(b"{}")
            assert (await connection.head())[0] == 201


async def test_client_that_goes_on_sending_is_left_after_a_while(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "DISCARDED_BYTES", 2**20)
    async with serving(module_database_url) as client:
        connection = await begin(client, "POST", CONVERSATIONS, {"Content-Length": str(2**40), **EVIL})
        sent = 0
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while sent < 2**28:
                    connection.writer.write(MEGABYTE)
                    await connection.writer.drain()
                    sent += len(MEGABYTE)
        assert sent < 2**26, "the connection was reset"


async def test_silent_client_of_a_refused_request_is_left_after_a_while(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "SILENT_SECONDS", 0.05)
    async with serving(module_database_url) as client:
        connection = await begin(client, "POST", CONVERSATIONS, {"Content-Length": "9", **EVIL})
        await refusal(connection, 403)
        await eventually(lambda: client.app.metrics.connections.collect()[0].samples[0].value == 0)


async def test_body_that_takes_too_long_gets_408(module_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limits, "BODY_SECONDS", 0.05)
    async with serving(module_database_url) as client:
        for framing in ({"Content-Length": "9"}, {"Transfer-Encoding": "chunked"}):
            connection = await begin(client, "POST", CONVERSATIONS, framing)
            assert await refusal(connection, 408) == {"error": "The request took too long to arrive"}
        assert len(client.app.requests) == 0
        assert (await client.request("GET", "/healthz")).status == 200


def test_paths_beside_the_api_are_all_tried_here() -> None:
    for pattern, _ in BESIDE_THE_API:
        assert any(re.fullmatch(pattern, path) for path in BESIDE), pattern
