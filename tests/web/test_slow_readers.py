"""A client that takes nothing of its response loses its connection, whatever the response is, and so does one that has
vanished. It can come back."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.netutil import bind_unix_socket

from chatserver import logs
from chatserver.web.http import backlog, server, slow_clients
from chatserver.web.http.kernel_buffers import UNSENT_BYTES
from chatserver.web.http.server import Server
from tests.kit.event_stream import EventStream, text_of
from tests.kit.http_client import Client, stream_path
from tests.kit.http_connection import Connection
from tests.kit.model_server import HEAD, Call, ModelServer
from tests.kit.served_app import Served, serving
from tests.kit.unix_client import UnixClient
from tests.kit.waiting import eventually

# In bytes: the response has twice as many, more than sockets hold.
LONG = 8_000_000
SLOW_SECONDS = 1.0
CUT_OFF = "a client that took nothing for 1 s is cut off"


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


async def edited(client: Client, long: int = LONG, headers: Mapping[str, str] | None = None) -> Connection:
    """A client that has edited a message, and of the response read nothing but the head."""
    conversation = await client.conversation()
    message = await client.say(conversation, "x" * long)
    connection = await client.connect(receive_buffer=4_096)
    path = f"/api/conversations/{conversation}/messages/{message}"
    await connection.send("PUT", path, {"content": "y" * long}, headers)
    status, answered = await connection.head()
    assert (status, int(answered["Content-Length"]) > 2 * long) == (200, True)
    return connection


def cut_off(client: Served) -> float:
    """How many clients were cut off."""
    return float(client.app.metrics.slow_readers._value.get())


def is_waiting(client: Served) -> bool:
    """Whether a response lies in the buffer of the process."""
    return len(client.app.requests) > 0


@pytest.mark.parametrize("headers", [{"X-Request-Id": "its-id"}, {"X-Request-Id": "its-id", "Connection": "close"}])
async def test_client_that_reads_nothing_of_one_resource_is_cut_off(
    module_database_url: str,
    caplog: pytest.LogCaptureFixture,
    headers: dict[str, str],
    ids_of_lines: list[str | None],
) -> None:
    async with impatient(module_database_url) as client:
        caplog.set_level(logging.INFO, "chatserver.web.http")
        clock = asyncio.get_running_loop().time
        connection = await edited(client, headers=headers)
        began = clock()
        assert is_waiting(client)
        await eventually(lambda: not is_waiting(client))
        assert clock() - began > SLOW_SECONDS / 2
        assert cut_off(client) == 1
        assert caplog.messages == [CUT_OFF]
        assert ids_of_lines == ["its-id"]
        with pytest.raises(ConnectionResetError):
            await connection.read()


async def test_system_does_not_end_an_open_connection_before_its_client_is_cut_off(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux, told how long to keep what a closed connection leaves, goes by that for open ones, too."""
    monkeypatch.setattr(server, "ORPHAN_SECONDS", SLOW_SECONDS / 4)
    async with impatient(module_database_url) as client:
        await edited(client)
        await eventually(lambda: not is_waiting(client))
        assert cut_off(client) == 1


@pytest.mark.parametrize("kernel_tells", [True, False])
async def test_client_that_reads_on_gets_the_whole_resource(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch, kernel_tells: bool
) -> None:
    if not kernel_tells:
        monkeypatch.setattr(slow_clients, "untaken_bytes", lambda _: None)
    async with impatient(module_database_url) as client:
        connection = await edited(client, headers={"Connection": "close"})
        received = 0
        for _ in range(8):
            await asyncio.sleep(SLOW_SECONDS / 3)
            received += len(await connection.read(LONG // 16))
        assert received + len(await connection.read()) > 2 * LONG
        assert cut_off(client) == 0


async def test_response_that_only_the_system_holds_is_not_kept_for_ever(module_database_url: str) -> None:
    """The process has nothing left of it, and waits for the next request."""
    async with impatient(module_database_url) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x" * UNSENT_BYTES)
        connection = await client.connect(receive_buffer=4_096)
        await connection.send("GET", f"/api/conversations/{conversation}/messages")
        assert (await connection.head())[0] == 200
        await eventually(lambda: not is_waiting(client))
        assert cut_off(client) == 0
        await eventually(lambda: cut_off(client) == 1)
        with pytest.raises(ConnectionResetError):
            await connection.read()


# --- answers --------------------------------------------------------------------------------------------------------

WORDS = "word " * 200


async def speak(call: Call, pieces: int) -> None:
    """Far more than what one client's buffers hold, but not at once."""
    await call.send(HEAD)
    for piece in range(pieces):
        await call.send(f"{piece} {WORDS}")
        await asyncio.sleep(0.005)
    await call.finish()


async def test_answer_that_its_only_reader_does_not_take_is_not_generated_to_its_end(module_database_url: str) -> None:
    calls = []

    async def script(call: Call) -> None:
        calls.append(call)
        await speak(call, 1_000_000)

    bounds: dict[str, Any] = {"resume_grace_seconds": 0.1, "max_answer_chars": 100_000_000}
    async with ModelServer(script) as model, impatient(module_database_url, **bounds, **model.settings) as client:
        path = stream_path(await client.conversation())
        await client.open(path, method="POST", body={"content": "x"}, receive_buffer=4_096)
        await eventually(lambda: cut_off(client) == 1)
        await calls[0].closed()
        assert len(client.app.streams) == 0


async def test_reader_that_was_cut_off_comes_back_and_misses_nothing(
    module_database_url: str, caplog: pytest.LogCaptureFixture, ids_of_lines: list[str | None]
) -> None:
    async with (
        ModelServer(lambda call: speak(call, 600)) as model,
        impatient(module_database_url, **model.settings) as client,
    ):
        caplog.set_level(logging.INFO, "chatserver.web")
        conversation = await client.conversation()
        trigger = await client.say(conversation, "x")
        path = stream_path(conversation, trigger)
        slow, fast = await client.open(path, receive_buffer=4_096), await client.open(path)
        await slow.event()
        whole = text_of(await fast.rest())
        await eventually(lambda: cut_off(client) == 1)
        assert (caplog.messages, ids_of_lines) == ([CUT_OFF], [slow.headers["X-Request-Id"]])
        again = await client.stream(conversation, trigger, last_id=slow.last_id)
        assert text_of([*slow.events, *await again.rest()]) == whole
        assert len(whole) > 600 * len(WORDS)


def vanish(connection: Connection) -> None:
    """From now on, the client's system gives no answer to what comes, as if its cable were cut.

    A filter that takes nothing is put before its socket; one that is installed needs no rights.
    """
    take_nothing = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # the statement: return 0
    program = struct.pack("HL", 1, ctypes.addressof(take_nothing))
    taken: socket.socket = connection.writer.get_extra_info("socket")
    taken.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER


async def pings_of(stream: EventStream) -> int:
    """How many pings come until the connection ends."""
    count = 0
    with contextlib.suppress(OSError, ValueError):
        while await stream.comment() == "ping":
            count += 1
    return count


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what a client acknowledged")
async def test_reader_that_has_vanished_is_found_out_within_two_pings(
    module_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ids_of_lines: list[str | None],
) -> None:
    """Its system acknowledges nothing, although little enough was sent for the buffers to take it. One whose system is
    there but which reads nothing is not taken for it."""
    monkeypatch.setattr(slow_clients, "MIN_SILENT_SECONDS", 0.0)
    settings: dict[str, Any] = {"ping_seconds": 1, "slow_reader_seconds": 60}
    async with ModelServer() as model, serving(module_database_url, **settings, **model.settings) as client:
        caplog.set_level(logging.INFO, "chatserver.web")
        streams = []
        for _ in range(2):
            conversation = await client.conversation()
            stream = await client.stream(conversation, await client.say(conversation, "x"))
            await stream.opened()
            streams.append(stream)
        vanish(streams[0].connection)
        pings = asyncio.create_task(pings_of(streams[1]))
        await eventually(lambda: cut_off(client) == 1)
        await eventually(lambda: len(client.app.streams) == 1)
        streams[1].connection.reset()
        assert await pings <= 2
        assert caplog.messages == ["a client that has said nothing for 0.75 s is cut off"]
        assert ids_of_lines == [streams[0].headers["X-Request-Id"]]


async def test_connection_without_anything_to_write_is_kept(module_database_url: str) -> None:
    async with impatient(module_database_url) as client:
        connection = await client.connect()
        for _ in range(2):
            await connection.send("GET", "/healthz")
            _, headers = await connection.head()
            await connection.read(int(headers["Content-Length"]))
            await asyncio.sleep(1.5 * SLOW_SECONDS)


# --- Unix sockets ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def at_unix_socket(served: Served, path: Path) -> AsyncIterator[UnixClient]:
    server = Server(served.app.web, settings=served.app.settings, metrics=served.app.metrics)
    server.add_sockets([bind_unix_socket(str(path))])
    client = UnixClient(path)
    try:
        yield client
    finally:
        await client.close()
        server.stop()
        await server.close_all_connections()


async def test_on_a_unix_socket_too_who_reads_nothing_is_cut_off_and_who_reads_slowly_is_not(
    module_database_url: str, tmp_path: Path
) -> None:
    async with impatient(module_database_url) as served, at_unix_socket(served, tmp_path / "s") as client:
        conversation = await client.conversation()
        await client.say(conversation, "x" * 4_000_000)
        stalled, slow = await client.connect(), await client.connect()
        for connection in (stalled, slow):
            await connection.send("GET", f"/api/conversations/{conversation}/messages")
        received = 0
        while cut_off(served) == 0:
            received += len(await slow.read(60_000))
            await asyncio.sleep(SLOW_SECONDS / 8)
        for _ in range(8):
            received += len(await slow.read(60_000))
            await asyncio.sleep(SLOW_SECONDS / 4)
        assert (cut_off(served), received < 4_000_000) == (1, True)
        assert len(await stalled.read()) < 1_000_000


# --- many of them ---------------------------------------------------------------------------------------------------


async def test_of_too_many_responses_that_wait_the_one_that_stalled_first_makes_room(
    module_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = 1_000_000
    monkeypatch.setattr(backlog, "MAX_BYTES", 5 * long)
    async with serving(module_database_url, max_message_chars=long, max_body_bytes=2 * long) as client:
        caplog.set_level(logging.INFO, "chatserver.web")
        connections = [await edited(client, long) for _ in range(2)]
        await connections[0].read(long)  # it goes on: now the other one is behind it
        connections += [await edited(client, long) for _ in range(2)]
        await eventually(lambda: cut_off(client) == 2)
        assert caplog.messages == ["a client that took nothing while too much waited for clients is cut off"] * 2
        for connection in (connections[1], connections[0]):
            with pytest.raises(ConnectionResetError):
                await connection.read()
        assert (len(await connections[3].read(2 * long)), cut_off(client)) == (2 * long, 2)
