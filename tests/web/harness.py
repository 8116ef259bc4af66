"""A server in the test's own loop, a client that sees every byte, and a model that does what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from chatserver.app import App
from chatserver.settings import Settings

COMPANY = "00000000-0000-4000-8000-000000000001"
# Longer than anything here takes, on a busy machine, too. Nothing waits for it unless a test fails.
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Frame:
    """One block of an event stream, as it came."""

    id: str | None
    data: Any
    retry: int | None
    comment: str | None


def parse_frame(block: str) -> Frame:
    fields: dict[str, str] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        assert name not in fields, f"two {name} lines in one frame: {block!r}"
        fields[name] = value.removeprefix(" ")
    assert set(fields) <= {"", "id", "data", "retry"}, block
    return Frame(
        id=fields.get("id"),
        data=json.loads(fields["data"]) if "data" in fields else None,
        retry=int(fields["retry"]) if "retry" in fields else None,
        comment=fields.get(""),
    )


class Connection:
    """An HTTP/1.1 connection; bodies are read as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, *, receive_buffer: int | None = None) -> Connection:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        limit = 4_096 if receive_buffer is not None else 2**16
        return cls(*await asyncio.open_connection(sock=sock, limit=limit))

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        version: str = "HTTP/1.1",
    ) -> None:
        lines = {"Host": "localhost", **(headers or {})}
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            lines = {"Content-Type": "application/json", "Content-Length": str(len(data)), **lines}
        elif method in ("POST", "PUT", "PATCH"):
            lines = {"Content-Length": "0", **lines}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.writer.write(f"{method} {path} {version}\r\n{head}\r\n".encode() + data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = raw.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            if name:
                headers[name.lower()] = value.strip()
        return int(status_line.split(" ")[1]), headers

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            size = int(await self.reader.readline(), 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Leave with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class EventStream:
    """A stream that was answered with 200, chunk by chunk."""

    def __init__(self, connection: Connection, headers: Mapping[str, str]) -> None:
        self.connection = connection
        self.headers = headers
        self.last_id: str | None = None
        self.retry: int | None = None
        self.events: list[Any] = []
        self.chunks: list[bytes] = []
        self._buffer = ""
        self._frames: list[Frame] = []

    async def frame(self) -> Frame | None:
        """The next frame, comments and empty ones among them; None at the end of the response."""
        while not self._frames:
            chunk = await self.connection.chunk()
            if not chunk:
                assert not self._buffer, f"the stream ends within a frame: {self._buffer!r}"
                return None
            self.chunks.append(chunk)
            *blocks, self._buffer = (self._buffer + chunk.decode()).split("\n\n")
            self._frames.extend(parse_frame(block) for block in blocks)
        frame = self._frames.pop(0)
        if frame.id is not None:
            self.last_id = frame.id
        if frame.retry is not None:
            self.retry = frame.retry
        return frame

    async def event(self) -> Any:
        """The data of the next event; None at the end of the response."""
        while (frame := await self.frame()) is not None:
            if frame.data is not None:
                self.events.append(frame.data)
                return frame.data
        return None

    async def comment(self) -> str:
        """The next comment."""
        while True:
            frame = await self.frame()
            assert frame is not None
            if frame.comment is not None:
                return frame.comment

    async def opened(self) -> None:
        """Read the blocks with which a stream opens."""
        first, second = await self.frame(), await self.frame()
        assert first == Frame(None, None, None, "ok")
        assert second is not None
        assert (second.data, second.retry, second.comment) == (None, 1000, None)
        assert second.id

    async def rest(self) -> list[Any]:
        """All events to the end of the response."""
        while await self.event() is not None:
            pass
        return self.events

    def leave(self) -> None:
        self.connection.close()


def text_of(events: list[Any]) -> str:
    """What a client shows after these events."""
    text = ""
    for event in events:
        if event["type"] == "token":
            text += event["content"]
        elif event["type"] == "reset":
            text = ""
    return text


class Client:
    """Speaks to a server on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connections: list[Connection] = []

    async def connect(self, *, receive_buffer: int | None = None) -> Connection:
        """A connection that is closed at the end, if it was not before."""
        connection = await Connection.open(self.port, receive_buffer=receive_buffer)
        self._connections.append(connection)
        return connection

    async def close(self) -> None:
        for connection in self._connections:
            connection.close()
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await connection.writer.wait_closed()

    async def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        connection = await self.connect()
        try:
            await connection.send(method, path, body, {"Connection": "close", **(headers or {})})
            status, answered = await connection.head()
            async with asyncio.timeout(PATIENCE_SECONDS):
                raw = await connection.reader.read()
            if answered.get("transfer-encoding") == "chunked":
                raw = dechunk(raw)
            return Response(status, answered, raw)
        finally:
            connection.close()

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        """The resource that a request succeeds with."""
        response = await self.request(method, path, body)
        assert response.status in (200, 201, 204), response
        return response.json() if response.body else None

    async def open(
        self,
        path: str,
        *,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
    ) -> EventStream:
        """A stream, its head read."""
        connection = await self.connect(receive_buffer=receive_buffer)
        await connection.send(method, path, body, headers)
        status, answered = await connection.head()
        assert status == 200, (status, answered)
        return EventStream(connection, answered)

    # --- shorthands -----------------------------------------------------------------------------------------

    async def conversation(self, **body: Any) -> str:
        created = await self.ok("POST", f"/api/companies/{COMPANY}/conversations", body)
        return str(created["id"])

    async def say(self, conversation: str, content: str, role: str = "user", **body: Any) -> str:
        message = await self.ok(
            "POST", f"/api/conversations/{conversation}/messages", {"role": role, "content": content, **body}
        )
        return str(message["id"])

    async def messages(self, conversation: str, query: str = "") -> list[Any]:
        page = await self.ok("GET", f"/api/conversations/{conversation}/messages{query}")
        return list(page["items"])

    async def stream(
        self, conversation: str, trigger: str | None = None, *, last_id: str | None = None, **query: str
    ) -> EventStream:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        return await self.open(stream_path(conversation, trigger, **query), headers=headers)

    async def refused(
        self, conversation: str, trigger: str | None = None, *, last_id: str | None = None, **query: str
    ) -> Response:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        return await self.request("GET", stream_path(conversation, trigger, **query), headers=headers)


def stream_path(conversation: str, trigger: str | None = None, **query: str) -> str:
    if trigger is not None:
        query["triggerMessageId"] = trigger
    return f"/api/conversations/{conversation}/stream?" + "&".join(f"{name}={query[name]}" for name in query)


def dechunk(raw: bytes) -> bytes:
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    return body


class Served(Client):
    """A client that can look behind the scenes."""

    def __init__(self, port: int, app: App) -> None:
        super().__init__(port)
        self.app = app


@asynccontextmanager
async def serving(url: str, **settings: Any) -> AsyncIterator[Served]:
    """A client of a server that runs in this loop, on the database at `url`."""
    app = App(Settings(**settings), url, {})
    server = HTTPServer(app.web)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    client = Served(sockets[0].getsockname()[1], app)
    try:
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            yield client
    finally:
        await client.close()
        server.stop()
        app.streams.close()
        await app.close()
        await server.close_all_connections()


# --- a model that does what the test says -------------------------------------------------------------------------


class Call:
    """One request to the model, and its answer in the making."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Any) -> None:
        self.request = request
        self._reader = reader
        self._writer = writer

    async def begin(self) -> None:
        self._writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        await self._writer.drain()

    async def send(self, *tokens: str) -> None:
        for token in tokens:
            await self._event({"choices": [{"index": 0, "delta": {"content": token}}]})

    async def think(self, token: str) -> None:
        await self._event({"choices": [{"index": 0, "delta": {"reasoning_content": token}}]})

    async def finish(self, reason: str = "stop") -> None:
        await self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        await self._event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
        self._writer.write(b"data: [DONE]\n\n")
        self.hang_up()

    async def _event(self, data: Any) -> None:
        self._writer.write(b"data: " + json.dumps(data).encode() + b"\n\n")
        await self._writer.drain()

    async def refuse(self, status: int) -> None:
        self._writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret".encode())
        self.hang_up()

    def hang_up(self) -> None:
        self._writer.close()

    async def closed(self) -> None:
        """Until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with contextlib.suppress(ConnectionError):
                assert await self._reader.read(1) == b""


class Model:
    """A server of chat completions; `await call()` is the next request to it."""

    def __init__(self) -> None:
        self.calls = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._waiting: asyncio.Queue[Call] = asyncio.Queue()
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        self.calls += 1
        self._writers.append(writer)
        await self._waiting.put(Call(reader, writer, json.loads(await reader.readexactly(length))))

    async def call(self) -> Call:
        async with asyncio.timeout(PATIENCE_SECONDS):
            call = await self._waiting.get()
        await call.begin()
        return call

    async def raw_call(self) -> Call:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._waiting.get()

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of a server whose default provider this model is."""
        provider = {"kind": "openai", "base_url": f"http://127.0.0.1:{self.port}/v1", "model": "test", "retries": 0}
        return {"providers": {"main": provider}, "default_provider": "main"}


@asynccontextmanager
async def running_model() -> AsyncIterator[Model]:
    model = Model()
    server = await asyncio.start_server(model._serve, "127.0.0.1", 0)
    model.port = server.sockets[0].getsockname()[1]
    try:
        yield model
    finally:
        server.close()
        for writer in model._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def is_uuid(text: Any) -> bool:
    return isinstance(text, str) and str(UUID(text)) == text
