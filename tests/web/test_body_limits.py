"""Bodies over the limit: refused properly, whatever they say of their length, and never kept."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chatserver.web.http import lingering
from tests.kit.http_client import COMPANY, Client, stream_path
from tests.kit.http_connection import Connection
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving
from tests.kit.waiting import PATIENCE_SECONDS

LIMIT = 2_048
PATH = f"/api/companies/{COMPANY}/conversations"
TOO_LARGE = {"error": "Request body is too large"}


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[Client, Connection]]:
    async with serving(url, max_body_bytes=LIMIT) as client:
        yield client, await client.connect()


def padded(size: int) -> bytes:
    """A good body of that many bytes."""
    return b'{"title": "t"' + b" " * (size - 14) + b"}"


async def write(connection: Connection, *lines: str, body: bytes = b"") -> None:
    head = "\r\n".join((f"POST {PATH} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines))
    connection.writer.write(f"{head}\r\n\r\n".encode() + body)
    await connection.writer.drain()


def chunked(data: bytes, size: int) -> bytes:
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def answered(connection: Connection) -> tuple[int, Mapping[str, str], Any]:
    status, headers = await connection.head()
    async with asyncio.timeout(PATIENCE_SECONDS):
        body = await connection.reader.readexactly(int(headers.get("content-length", "0")))
    return status, headers, json.loads(body) if body else None


async def ended(connection: Connection) -> bool:
    """True if the server closes the connection without another byte."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            return await connection.reader.read() == b""
        except ConnectionError:
            return True


async def test_body_of_the_limit_is_accepted(module_database_url: str) -> None:
    async with connected(module_database_url) as (_, connection):
        await write(connection, f"Content-Length: {LIMIT}", body=padded(LIMIT))
        assert (await answered(connection))[0] == 201
        await write(connection, "Transfer-Encoding: chunked", body=chunked(padded(LIMIT), 100))
        assert (await answered(connection))[0] == 201


async def test_open_stream_keeps_nothing_of_the_body_of_its_request(module_database_url: str) -> None:
    async with ModelServer() as model, serving(module_database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.open(stream_path(conversation, question), body={"title": "x" * 10_000})
        await stream.opened()
        assert client.app.web.bodies.held_bytes == 0
        await (await model.call()).finish()
        await stream.rest()


async def test_body_of_one_byte_more_is_refused(module_database_url: str) -> None:
    async with serving(module_database_url, max_body_bytes=LIMIT) as client:
        for more in (1, 2, 100_000, 2 * 2**20):
            body = padded(LIMIT + more)
            for line, sent in (
                (f"Content-Length: {len(body)}", body),
                ("Transfer-Encoding: chunked", chunked(body, 1_000)),
            ):
                connection = await client.connect()
                # All of it is sent before the response is read, as simple clients do.
                await write(connection, line, body=sent)
                status, headers, answer = await answered(connection)
                assert (status, answer) == (413, TOO_LARGE)
                assert headers["connection"] == "close"
                assert headers["x-request-id"]
                assert await ended(connection)


async def test_far_too_large_body_is_refused_before_it_is_sent(module_database_url: str) -> None:
    for length in (LIMIT + lingering.DISCARDED_BYTES + 1, 2**31, 2**63, 2**64, 10**60):
        async with connected(module_database_url) as (_, connection):
            await write(connection, f"Content-Length: {length}")
            assert (await answered(connection))[::2] == (413, TOO_LARGE)
            assert await ended(connection)


async def test_client_that_expects_continue_is_refused_first(module_database_url: str) -> None:
    async with connected(module_database_url) as (client, connection):
        await write(connection, "Expect: 100-continue", f"Content-Length: {LIMIT + 1}")
        assert (await answered(connection))[::2] == (413, TOO_LARGE)
        assert await ended(connection)
        another = await client.connect()
        await write(another, "Expect: 100-continue", f"Content-Length: {LIMIT}")
        assert (await another.head())[0] == 100
        another.writer.write(padded(LIMIT))
        assert (await answered(another))[0] == 201


async def test_endless_body_is_cut_and_not_kept(module_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "DISCARDED_BYTES", 4 * 2**20)
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    async with connected(module_database_url) as (_, connection):
        tracemalloc.start()
        await write(connection, "Transfer-Encoding: chunked")
        sent = 0
        try:
            while sent < 64 * 2**20:
                connection.writer.write(piece)
                await connection.writer.drain()
                sent += len(piece)
        except ConnectionError:
            pass
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert sent < 16 * 2**20, "the connection was closed"
        assert peak < 3 * 2**20


async def test_client_that_leaves_in_mid_body_harms_nobody(
    module_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(module_database_url, max_body_bytes=LIMIT) as client:
        for line in (f"Content-Length: {LIMIT}", f"Content-Length: {LIMIT + 9}", "Transfer-Encoding: chunked"):
            connection = await client.connect()
            await write(connection, line, body=b"3\r\n{")
            connection.reset()
        assert (await client.request("GET", "/api/session")).status == 200
    assert [record for record in caplog.records if record.exc_info] == []
