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

from scripts.benchmarks.machine import new_loop, raise_open_files
from scripts.benchmarks.peers import answers, source


class MessagesHandler(tornado.web.RequestHandler):
    def post(self, _name: str) -> None:
        self.set_status(201)
        self.finish({"id": answers.MESSAGE_ID})


class StreamHandler(tornado.web.RequestHandler):
    def compute_etag(self) -> str | None:
        return None

    async def get(self, name: str) -> None:
        self.set_header("Content-Type", "text/event-stream")
        for header, value in answers.HEADERS.items():
            self.set_header(header, value)
        with contextlib.suppress(StreamClosedError):
            await self._send(answers.OPENING)
            if name.startswith("idle"):
                await self._ping(answers.ping_seconds(name))
            async for event in source.events(name):
                await self._send(answers.event(*event))

    async def _ping(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._send(answers.PING)

    async def _send(self, data: bytes) -> None:
        self.write(data)
        await self.flush()


class PublishHandler(tornado.web.RequestHandler):
    async def post(self, name: str) -> None:
        await source.publish(name)
        self.finish({"id": answers.MESSAGE_ID})


async def _serve() -> None:
    raise_open_files()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    routes = [
        ("/api/conversations/(.*)/messages", MessagesHandler),
        ("/api/conversations/(.*)/stream", StreamHandler),
        ("/publish/(.*)", PublishHandler),
    ]
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
