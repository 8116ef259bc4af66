"""The whole application in the test's own event loop, behind a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado.netutil import bind_sockets

from chatserver.app import App
from chatserver.settings import Settings
from chatserver.web.http.server import Server
from tests.kit.http_client import Client
from tests.kit.waiting import PATIENCE_SECONDS

DEFAULTS: dict[str, Any] = {}
"""Settings of all servers that do not have others."""


class Served(Client):
    """A client whose server is at hand as `app`."""

    def __init__(self, port: int, app: App) -> None:
        super().__init__(port)
        self.app = app


@asynccontextmanager
async def serving(
    url: str, *, connections: int | None = None, send_buffer: int | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """A client of a server that runs in this loop, on the database at `url`.

    `connections`: the most of them. `send_buffer`: how many bytes the system is to keep for a client, about.
    """
    app = App(Settings(**{**DEFAULTS, **settings}), url, {})
    server = Server(app.web, settings=app.settings, metrics=app.metrics, limit=connections)
    sockets = bind_sockets(0, "127.0.0.1")
    if send_buffer is not None:  # connections inherit it
        sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
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
