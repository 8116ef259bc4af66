"""The floor: HTTP by hand on asyncio.Protocol; events are formatted as bytes, one write each. Run with `python -m`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable
from typing import cast

from scripts.benchmarks.machine import new_loop, raise_open_files
from scripts.benchmarks.peers import answers

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_MESSAGE = answers.dumps({"id": answers.MESSAGE_ID}).encode()
_POSTED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_MESSAGE),
    _MESSAGE,
)
_TOKEN = b"id: " + answers.RUN.encode() + b'.1.%d.%d\ndata: {"type":"token","content":%b}\n\n'
_WORDS = [answers.dumps(answers.word(number)).encode() for number in range(2)]


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_END = _chunk(answers.event(*answers.end())) + b"0\r\n\r\n"


def _token(number: int) -> bytes:
    return _chunk(_TOKEN % (number, 5 * number // 2, _WORDS[number % 2]))


class _Source:
    """An answer on its way: `write` takes each chunk."""

    def __init__(self, answer: answers.Answer, write: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._write = write
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._answer.pace_seconds:
            self._due = self._loop.time()
            self._send_next()
            return
        for number in range(1, self._answer.tokens + 1):
            self._write(_token(number))
        self._write(_END)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _send_next(self) -> None:
        if self._number == self._answer.tokens:
            self._write(_END)
            return
        self._number += 1
        self._write(_token(self._number))
        self._due += self._answer.pace_seconds
        self._timer = self._loop.call_at(self._due, self._send_next)


class BareServer(asyncio.Protocol):
    """One connection of a client."""

    live: set[BareServer] = set()  # noqa: RUF012 - shared by all connections

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._source: _Source | None = None
        self._pings: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.write = self._transport.write

    def connection_lost(self, _error: Exception | None) -> None:
        self.live.discard(self)
        if self._source is not None:
            self._source.stop()
        if self._pings is not None:
            self._pings.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
        path = target.decode().split("/")
        if method == b"POST":
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(body) < length:
                return
            if path[1] == "publish":
                self._publish(answers.answer(path[2]))
            self.write(_POSTED)
        else:
            self._stream(path[3])
        self._received = b""

    def _stream(self, name: str) -> None:
        self.write(_STREAM_HEAD + _chunk(answers.OPENING))
        if name == "live":
            self.live.add(self)
        elif name.startswith("idle"):
            self._ping(answers.ping_seconds(name), first=True)
        else:
            self._source = _Source(answers.answer(name), self.write)
            self._source.start()

    def _ping(self, seconds: float, *, first: bool = False) -> None:
        if not first:
            self.write(_chunk(answers.PING))
        self._pings = self._loop.call_later(seconds, self._ping, seconds)

    def _publish(self, answer: answers.Answer) -> None:
        def write_to_all(chunk: bytes) -> None:
            for reader in self.live:
                reader.write(chunk)
            if chunk is _END:
                self.live.clear()

        _Source(answer, write_to_all).start()


async def _serve() -> None:
    raise_open_files()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(BareServer, "127.0.0.1", 0, backlog=1024)
    gc.collect()
    gc.freeze()
    print(f"ready at http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner, contextlib.suppress(KeyboardInterrupt):
        runner.run(_serve())
