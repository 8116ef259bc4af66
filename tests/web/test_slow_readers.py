"""A client that reads nothing of its response loses its connection, whatever the response is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from chatserver import logs
from chatserver.web.http import server_stream, streaming_handler
from chatserver.web.http.tcp_progress import Progress
from tests.kit.http_client import Client
from tests.kit.http_connection import Connection
from tests.kit.model_server import ModelServer
from tests.kit.served_app import Served, serving
from tests.kit.waiting import eventually

# In bytes: the response has twice as many, more than sockets hold.
LONG = 8_000_000
SLOW_SECONDS = 1.0


@pytest.fixture
def ids_of_lines() -> Iterator[list[str | None]]:
    """The request id of each line that the server logs."""
    ids: list[str | None] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            ids.append(logs.request_id.get())

    recorder, logger = Recorder(), logging.getLogger("chatserver.web")
    logger.addHandler(recorder)
    yield ids
    logger.removeHandler(recorder)


def impatient(url: str, **settings: Any) -> AbstractAsyncContextManager[Served]:
    bounds: dict[str, Any] = {"max_message_chars": LONG, "max_body_bytes": LONG + 1_000}
    return serving(url, slow_reader_seconds=SLOW_SECONDS, **bounds, **settings)


async def edited(client: Client, **headers: str) -> Connection:
    """A client that has edited a message, and of the response read nothing but the head."""
    conversation = await client.conversation()
    message = await client.say(conversation, "x" * LONG)
    connection = await client.connect(receive_buffer=4_096)
    path = f"/api/conversations/{conversation}/messages/{message}"
    await connection.send("PUT", path, {"content": "y" * LONG}, headers)
    status, answered = await connection.head()
    assert (status, int(answered["Content-Length"]) > 2 * LONG) == (200, True)
    return connection


def is_waiting(client: Served) -> bool:
    """Whether a response lies in the buffer of the process."""
    return len(client.app.requests) > 0


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
async def test_client_that_reads_nothing_of_one_resource_is_cut_off(
    module_database_url: str,
    caplog: pytest.LogCaptureFixture,
    headers: dict[str, str],
    ids_of_lines: list[str | None],
) -> None:
    async with impatient(module_database_url) as client:
        caplog.set_level(logging.INFO, "chatserver.web.http")
        clock = asyncio.get_running_loop().time
        connection = await edited(client, **headers)
        began = clock()
        assert is_waiting(client)
        await eventually(lambda: not is_waiting(client))
        assert clock() - began > SLOW_SECONDS / 2
        assert client.app.metrics.slow_readers._value.get() == 1
        assert caplog.messages == [f"a client that took nothing for {SLOW_SECONDS} s is cut off"]
        assert ids_of_lines == [None]
        with pytest.raises(ConnectionResetError):
            await connection.read()


@pytest.mark.parametrize("kernel_tells", [True, False])
async def test_client_that_reads_on_gets_the_whole_resource(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch, kernel_tells: bool
) -> None:
    if not kernel_tells:  # as on Unix sockets
        monkeypatch.setattr(server_stream, "progress", lambda _: None)
    async with impatient(module_database_url) as client:
        connection = await edited(client, Connection="close")
        received = 0
        for _ in range(8):
            await asyncio.sleep(SLOW_SECONDS / 3)
            received += len(await connection.read(LONG // 16))
        assert received + len(await connection.read()) > 2 * LONG
        assert client.app.metrics.slow_readers._value.get() == 0


async def test_reader_of_an_answer_that_has_vanished_is_cut_off(
    module_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ids_of_lines: list[str | None],
) -> None:
    """Its kernel acknowledges nothing, although little enough was sent for the buffers to take it."""
    async with ModelServer() as model, impatient(module_database_url, **model.settings) as client:
        caplog.set_level(logging.INFO, "chatserver.web")
        conversation = await client.conversation()
        stream = await client.stream(conversation, await client.say(conversation, "x"))
        await stream.opened()
        assert len(client.app.streams) == 1
        monkeypatch.setattr(streaming_handler, "progress", lambda _: Progress(0, SLOW_SECONDS))
        await eventually(lambda: len(client.app.streams) == 0)
        assert client.app.metrics.slow_readers._value.get() == 1
        assert caplog.messages == [f"a reader that took nothing for {SLOW_SECONDS} s is cut off"]
        assert ids_of_lines == [stream.headers["X-Request-Id"]]


async def test_connection_without_anything_to_write_is_kept(module_database_url: str) -> None:
    async with impatient(module_database_url) as client:
        connection = await client.connect()
        for _ in range(2):
            await connection.send("GET", "/healthz")
            _, headers = await connection.head()
            await connection.read(int(headers["Content-Length"]))
            await asyncio.sleep(1.5 * SLOW_SECONDS)
