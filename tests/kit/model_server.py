"""The stand-in for a model: a server of chat completions on a plain socket that does what the test says.

A plain socket, because it can do what no well-behaved server would do, and sees at once when the client hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from tests.kit.waiting import PATIENCE_SECONDS

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def token(text: str, **others: object) -> bytes:
    """An event of the chat-completions format; `others` stand beside its delta."""
    return event({"choices": [{"index": 0, "delta": {"content": text}, **others}]})


def choice(delta: object, finish_reason: object = None, **others: object) -> bytes:
    """An event of the chat-completions format with that delta; `others` stand beside it."""
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason, **others}]})


DONE = b"data: [DONE]\n\n"
END = token("", finish_reason="stop") + b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def refusal(status: int, *headers: str, body: bytes = b"{}") -> bytes:
    """A whole HTTP response with that status."""
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Call:
    """The model's end of one connection; `head` and `request` are those of the HTTP request, the latter as JSON.

    `request` is None if the HTTP request has no body.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.head = b""
        self.request: Any = None
        self._hung_up = False
        self._loop = asyncio.get_running_loop()

    async def receive_request(self) -> bool:
        """False if the client hangs up before its request is complete."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += (more := await self._loop.sock_recv(self.sock, 65_536))
            if not more:
                return False
        self.head, _, rest = data.partition(b"\r\n\r\n")
        lengths = (line for line in self.head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        length = int(next(lengths, b":0").split(b":")[1])
        while len(rest) < length:
            rest += (more := await self._loop.sock_recv(self.sock, 65_536))
            if not more:
                return False
        self.request = json.loads(rest) if rest else None
        return True

    # --- what the model says --------------------------------------------------------------------------------

    async def send(self, *parts: str | bytes) -> None:
        """Send each text as a token, and bytes as they are."""
        for part in parts:
            await self._loop.sock_sendall(self.sock, part if isinstance(part, bytes) else token(part))

    async def think(self, text: str) -> None:
        """Send a piece of reasoning."""
        await self.send(event({"choices": [{"index": 0, "delta": {"reasoning_content": text}}]}))

    async def finish(self, reason: str = "stop") -> None:
        """End the answer in order, with its usage."""
        await self.send(event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
        await self.send(event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}))
        await self.send(b"data: [DONE]\n\n")
        self.hang_up()

    async def refuse(self, status: int) -> None:
        await self.send(refusal(status, "Connection: close", body=b"secret"))
        self.hang_up()

    def hang_up(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Hang up with a reset, as a process that was killed does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # --- what the client does -------------------------------------------------------------------------------

    async def closed(self) -> None:
        """Wait until the client hangs up."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._hung_up:
                try:
                    self._hung_up = not await self._loop.sock_recv(self.sock, 65_536)
                except ConnectionError:
                    self._hung_up = True

    def is_closed(self) -> bool:
        """True if the client has hung up by now."""
        if not self._hung_up:
            try:
                self._hung_up = not self.sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                pass
            except ConnectionError:
                self._hung_up = True
        return self._hung_up


Script = Callable[[Call], Awaitable[None]]


class ModelServer:
    """`async with ModelServer() as model`: `await model.call()` is the next request, its response begun.

    `ModelServer(script)` runs `script(call)` for each request instead, and closes the connection when it ends; what a
    script raises, `async with` raises. `connections` are all that were accepted, in their order.
    """

    def __init__(self, script: Script | None = None, *, send_buffer_bytes: int = 0) -> None:
        self.connections: list[Call] = []
        self.calls = 0
        self._script = script
        self._send_buffer_bytes = send_buffer_bytes
        self._serving: list[asyncio.Task[None]] = []
        self._waiting: asyncio.Queue[Call] = asyncio.Queue()

    async def call(self) -> Call:
        """The next request, in order; the head of a successful response is sent."""
        call = await self.raw_call()
        await call.send(HEAD)
        return call

    async def raw_call(self) -> Call:
        """The next request, in order; nothing is sent."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._waiting.get()

    async def all_closed(self) -> None:
        """Wait until all scripts have ended."""
        await asyncio.gather(*self._serving)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of a server whose default provider this model is."""
        provider = {"kind": "openai", "base_url": self.base_url, "model": "test", "retries": 0}
        return {"providers": {"main": provider}, "default_provider": "main"}

    @property
    def environment(self) -> dict[str, str]:
        """The same settings, for the environment of a process."""
        return {
            "CHATSERVER_PROVIDERS": json.dumps(self.settings["providers"]),
            "CHATSERVER_DEFAULT_PROVIDER": self.settings["default_provider"],
        }

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
        for call in self.connections:
            call.sock.close()
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
            self.connections.append(Call(sock))
            self._serving.append(asyncio.create_task(self._serve(self.connections[-1])))

    async def _serve(self, call: Call) -> None:
        # Many tests are about a client that hangs up.
        with contextlib.suppress(ConnectionError):
            if await call.receive_request():
                self.calls += 1
                if self._script is None:
                    self._waiting.put_nowait(call)
                    return
                await self._script(call)
        call.sock.close()
