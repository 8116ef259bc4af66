"""A model made of a plain socket, for what no well-behaved server would do; it sees at once when it is hung up on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def token(text: str, **others: object) -> bytes:
    """An event of the chat-completions format."""
    choice = {"index": 0, "delta": {"content": text}, **others}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


END = token("", finish_reason="stop") + b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def refusal(status: int, *headers: str, body: bytes = b"{}") -> bytes:
    """A whole HTTP answer with that status."""
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """The model's end of one connection; `head` and `body` are the request's."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.head = b""
        self.body: Any = None
        self._hung_up = False
        self._loop = asyncio.get_running_loop()

    async def receive_request(self) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            data += (more := await self._loop.sock_recv(self.sock, 65_536))
            if not more:
                return False
        self.head, _, rest = data.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in self.head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        while len(rest) < length:
            rest += (more := await self._loop.sock_recv(self.sock, 65_536))
            if not more:
                return False
        self.body = json.loads(rest)
        return True

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def until_closed(self) -> None:
        """Wait until the other side hangs up."""
        while not self._hung_up:
            try:
                self._hung_up = not await self._loop.sock_recv(self.sock, 65_536)
            except ConnectionError:
                self._hung_up = True

    def is_closed(self) -> bool:
        """Whether the other side has hung up by now."""
        if not self._hung_up:
            try:
                self._hung_up = not self.sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                pass
            except ConnectionError:
                self._hung_up = True
        return self._hung_up

    def reset(self) -> None:
        """Hang up with a reset, as a process that was killed does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class RawModel:
    """`async with RawModel(script) as model`: each connection runs `script(connection)` once its request is in.

    `connections` are all that were accepted, in their order. A connection is closed when its script ends;
    what a script raises, `async with` raises.
    """

    def __init__(self, script: Callable[[Connection], Awaitable[None]], *, send_buffer_bytes: int = 0) -> None:
        self.connections: list[Connection] = []
        self._script = script
        self._send_buffer_bytes = send_buffer_bytes
        self._serving: list[asyncio.Task[None]] = []

    async def all_closed(self) -> None:
        """Wait until all scripts have ended."""
        await asyncio.gather(*self._serving)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    async def __aenter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._accepting.cancel()
        for task in self._serving:
            task.cancel()
        results = await asyncio.gather(self._accepting, *self._serving, return_exceptions=True)
        self._listener.close()
        for result in results:
            if error is None and isinstance(result, Exception):
                raise result

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listener)
            sock.setblocking(False)
            if self._send_buffer_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer_bytes)
            self.connections.append(Connection(sock))
            self._serving.append(asyncio.create_task(self._serve(self.connections[-1])))

    async def _serve(self, connection: Connection) -> None:
        # A client that hangs up is what these tests are about.
        with connection.sock, contextlib.suppress(ConnectionError):
            if await connection.receive_request():
                await self._script(connection)
