"""Tornado as its manual shows it: a handler that awaits, writes and flushes for each event. Run with `python -m`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal

import tornado.netutil
import tornado.web
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError

from scripts.benchmarks.machine import new_loop
from scripts.benchmarks.peers import answers

# One queue for each live reader; None ends its stream.
_live: set[asyncio.Queue[bytes | None]] = set()


class MessagesHandler(tornado.web.RequestHandler):
    def post(self) -> None:
        self.set_status(201)
        self.set_header("Content-Type", "application/json")
        self.finish(answers.MESSAGE)


class StreamHandler(tornado.web.RequestHandler):
    def compute_etag(self) -> str | None:
        return None

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache, no-transform")
        self.set_header("X-Accel-Buffering", "no")
        match = answers.STREAM_PATH.match(self.request.path)
        assert match is not None
        with contextlib.suppress(StreamClosedError):
            await self._send(answers.OPENING)
            if match[1] is None:
                await self._relay()
            else:
                await self._generate(int(match[1]), int(match[2]) / 1000)
            self.write(answers.end())

    async def _relay(self) -> None:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        _live.add(queue)
        try:
            while event := await queue.get():
                await self._send(event)
        finally:
            _live.discard(queue)

    async def _generate(self, tokens: int, pace_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for event in answers.events(tokens):
            await self._send(event)
            due += pace_seconds
            await asyncio.sleep(max(0, due - loop.time()))

    async def _send(self, data: bytes) -> None:
        self.write(data)
        await self.flush()


class PublishHandler(MessagesHandler):
    def post(self) -> None:
        for event in [*answers.events(int(self.request.body)), None]:
            for queue in _live:
                queue.put_nowait(event)
        super().post()


async def _serve() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    routes = [(r"/api/.*/messages", MessagesHandler), (r"/api/.*/stream", StreamHandler), ("/publish", PublishHandler)]
    server = HTTPServer(tornado.web.Application(routes))
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1", backlog=1024)
    server.add_sockets(sockets)
    gc.collect()
    gc.freeze()
    print(f"ready at http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve())
