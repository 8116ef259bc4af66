"""A client of the chat that records when bytes arrive: HTTP/1.1 with keep-alive on a bare asyncio protocol.

It does no more than the figures need, so that its own cost hardly shows in them. A stream is handed out as it arrives,
in pieces that end with an event; only the callbacks parse them.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Self, cast

COMPANY = "00000000-0000-4000-8000-000000000001"
OPENING = b":ok\n\n"
TOKEN = b'data: {"type":"token"'
_DONE = b'data: {"type":"done"'
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Response(NamedTuple):
    """The JSON body of a response, and when its last byte arrived (CLOCK_MONOTONIC, ns)."""

    body: Any
    arrived_ns: int


OnEvents = Callable[[int, bytes], None]
"""Called with the time of arrival (CLOCK_MONOTONIC, ns) and bytes that end with an event."""


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._arrivals: deque[tuple[int, bytes]] = deque()
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, port: int) -> Self:
        """A connection to the server at that port of this machine."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    # --- called by asyncio --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not derived from asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._arrivals.append((time.monotonic_ns(), data))
        self._wake()

    def connection_lost(self, _error: Exception | None) -> None:
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- requests -----------------------------------------------------------------------------------------

    async def post(self, path: str, body: object) -> Response:
        """Send JSON and return the JSON response. Raises RuntimeError unless the status is 200 or 201."""
        data = json.dumps(body).encode()
        lines = ("Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(data)}")
        self._transport.write("\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + data)
        received, arrived_ns = await self._head(path)
        head_bytes, _, content = received.partition(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in head_bytes.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        while len(content) < length:
            arrived_ns, data = await self._next()
            content += data
        return Response(json.loads(content), arrived_ns)

    async def follow(self, path: str, on_events: OnEvents) -> None:
        """Read a stream to its end. Raises RuntimeError if it is refused, or if its last event is not `done`."""
        self._transport.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
        received, arrived_ns = await self._head(path)
        data = received.partition(b"\r\n\r\n")[2]
        last = b""
        while True:
            end = data.rfind(b"\n\n") + 2
            if end > 1:
                last = data[:end]
                on_events(arrived_ns, last)
                data = data[end:]
            if data.endswith(_LAST_CHUNK):
                break
            arrived_ns, more = await self._next()
            data += more
        if _DONE not in last:
            raise RuntimeError(f"{path} ended with {last!r}")

    def reset(self) -> None:
        """Hang up with a TCP reset, like a client that was killed."""
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    async def _head(self, path: str) -> tuple[bytes, int]:
        received = b""
        while b"\r\n\r\n" not in received:
            arrived_ns, data = await self._next()
            received += data
        if received[9:12] not in (b"200", b"201"):
            raise RuntimeError(f"{path} was refused: {received!r}")
        return received, arrived_ns

    async def _next(self) -> tuple[int, bytes]:
        while not self._arrivals:
            if self._lost:
                raise EOFError("the server hung up")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._arrivals.popleft()


# --- the chat ---------------------------------------------------------------------------------------------


async def create_agent(connection: Connection, provider: str) -> str:
    """Create an agent that uses this provider; return its id."""
    body = {"name": provider, "adapterType": "llm", "adapterConfig": {"provider": provider}}
    return str((await connection.post(f"/api/companies/{COMPANY}/agents", body)).body["id"])


async def create_conversation(connection: Connection, agent_id: str | None = None) -> str:
    """Create a conversation, with the default agent or this one; return its id."""
    body = {} if agent_id is None else {"agentId": agent_id}
    return str((await connection.post(f"/api/companies/{COMPANY}/conversations", body)).body["id"])


async def ask(connection: Connection, conversation_id: str, content: str) -> tuple[str, int]:
    """Add a user message. Returns the path of its answer's stream, and when the response arrived (ns)."""
    path = f"/api/conversations/{conversation_id}"
    response = await connection.post(f"{path}/messages", {"role": "user", "content": content})
    return f"{path}/stream?triggerMessageId={response.body['id']}", response.arrived_ns


def echo_content(tokens: int) -> str:
    """A message whose echo has so many tokens: words and spaces, after the six tokens of `Echo from agent: `."""
    return "".join("word" if number % 2 == 0 else " " for number in range(tokens - 6))
