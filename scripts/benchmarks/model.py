"""A stand-in for a model: OpenAI's chat completions on a raw socket, each token stamped as it is sent.

It runs in the process of the load: the stamp in a token and the time of its arrival come from one clock, and no third
process competes with the client for its core.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
_END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
# The start of a token event. The stamp follows; a space ends it.
_STAMP = b'data: {"type":"token","content":"'


class ModelConnection:
    """The model's end of a connection.

    `closed` resolves to the time at which the server hung up (CLOCK_MONOTONIC, ns); `ended` is set once the answer is
    complete.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()

    def send_token(self, text: str | None = None) -> None:
        """Send a token; None: it holds the current time. Does nothing if the server hung up."""
        content = f"{time.monotonic_ns()} " if text is None else text
        delta = json.dumps({"choices": [{"index": 0, "delta": {"content": content}}]})
        self._send(f"data: {delta}\n\n".encode())

    def send_end(self) -> None:
        """Complete the answer."""
        self._send(_END)
        self.ended.set()

    def _send(self, data: bytes) -> None:
        try:
            sent = self._sock.send(data)
        except ConnectionError:
            return
        assert sent == len(data), "the kernel's buffer holds more than any answer here"


Script = Callable[[ModelConnection], Awaitable[None]]


def paced(tokens: int, pace_seconds: float) -> Script:
    """A script that sends this number of tokens, one every `pace_seconds`, the first at once."""

    async def answer(connection: ModelConnection) -> None:
        for number in range(tokens):
            if number:
                await asyncio.sleep(pace_seconds)
            if connection.closed.done():
                return
            connection.send_token()
        connection.send_end()

    return answer


def until(ended: asyncio.Event, pace_seconds: float) -> Script:
    """A script that sends a token every `pace_seconds` until `ended` is set."""

    async def answer(connection: ModelConnection) -> None:
        clock = asyncio.get_running_loop().time
        next_at = clock()
        while not ended.is_set() and not connection.closed.done():
            connection.send_token()
            next_at += pace_seconds
            await asyncio.sleep(next_at - clock())
        connection.send_end()

    return answer


class Model:
    """Inside `async with model`, `script` answers each request. The socket listens from the start.

    `newest` is the connection that was opened last; `held` is a queue for the script `hold`.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self._serving: set[asyncio.Task[None]] = set()
        self.script: Script = paced(1, 0)
        self.newest: ModelConnection | None = None
        self.held: asyncio.Queue[ModelConnection] = asyncio.Queue()

    @property
    def provider(self) -> dict[str, str]:
        """The settings of a provider that asks this model."""
        port = self._listener.getsockname()[1]
        return {"kind": "openai", "base_url": f"http://127.0.0.1:{port}/v1", "model": "stand-in"}

    async def __aenter__(self) -> Self:
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [self._accepting, *self._serving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listener)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(self._serve(sock))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, sock: socket.socket) -> None:
        with sock:
            await _receive_request(sock)
            connection = self.newest = ModelConnection(sock)
            sock.send(_HEAD)
            watching = asyncio.create_task(_watch(sock, connection.closed))
            await self.script(connection)
            if not connection.closed.done():
                # Closing our side ends the answer.
                sock.shutdown(socket.SHUT_WR)
            await watching


async def _receive_request(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    received = b""
    while True:
        received += await loop.sock_recv(sock, 65_536)
        head, found, body = received.partition(b"\r\n\r\n")
        if found:
            lines = head.lower().split(b"\r\n")
            length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
            if len(body) >= length:
                return


async def _watch(sock: socket.socket, closed: asyncio.Future[int]) -> None:
    """Resolve `closed` when the server hangs up."""
    loop = asyncio.get_running_loop()
    try:
        while await loop.sock_recv(sock, 65_536):
            pass
    except ConnectionError:
        pass
    closed.set_result(time.monotonic_ns())
