"""The floor: HTTP by hand on asyncio.Protocol, one write for each event. Run with `python -m`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Iterator
from typing import cast

from scripts.benchmarks.machine import new_loop
from scripts.benchmarks.peers import answers

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_LAST_CHUNK = b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class BareServer(asyncio.Protocol):
    """One connection of a client."""

    live: set[BareServer] = set()  # noqa: RUF012 - shared by all connections

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self.live.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        method, path, _ = head.split(b"\r\n", 1)[0].split(b" ")
        if method == b"POST":
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(body) < length:
                return
            if path == b"/publish":
                self._publish(int(body))
            response = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            self._transport.write(response % (len(answers.MESSAGE), answers.MESSAGE))
        else:
            self._stream(path.decode())
        self._received = b""

    def _stream(self, path: str) -> None:
        self._transport.write(_STREAM_HEAD + _chunk(answers.OPENING))
        match = answers.STREAM_PATH.match(path)
        assert match is not None, path
        if match[1] is None:
            self.live.add(self)
            return
        events = answers.events(int(match[1]))
        if pace_ms := int(match[2]):
            self._pace(events, pace_ms / 1000, self._loop.time())
            return
        for event in events:
            self._transport.write(_chunk(event))
        self._end()

    def _pace(self, events: Iterator[bytes], pace_seconds: float, due: float) -> None:
        if event := next(events, None):
            self._transport.write(_chunk(event))
            due += pace_seconds
            self._timer = self._loop.call_at(due, self._pace, events, pace_seconds, due)
        else:
            self._end()

    def _end(self) -> None:
        self._transport.write(_chunk(answers.end()) + _LAST_CHUNK)

    def _publish(self, tokens: int) -> None:
        for event in answers.events(tokens):
            chunk = _chunk(event)
            for reader in self.live:
                reader._transport.write(chunk)
        for reader in self.live:
            reader._end()
        self.live.clear()


async def _serve() -> None:
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
