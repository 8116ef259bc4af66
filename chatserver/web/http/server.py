"""Tornado's HTTPServer with connections of our own: bounded in number, and closed so that clients see the response."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tornado.httpserver import HTTPServer

from chatserver.loop_share import LoopShare
from chatserver.metrics import Metrics
from chatserver.settings import Settings
from chatserver.web.http.accepting import Acceptor, connection_limit
from chatserver.web.http.application import Application
from chatserver.web.http.backlog import Backlog
from chatserver.web.http.body_limits import BODY_SECONDS
from chatserver.web.http.kernel_buffers import bound
from chatserver.web.http.lingering import Lingering
from chatserver.web.http.refusals import Refusal, RequestLine
from chatserver.web.http.server_connection import ServerConnection, peer_of
from chatserver.web.http.server_stream import ServerStream
from chatserver.web.http.slow_clients import patience
from chatserver.web.http.sweep import Sweep

logger = logging.getLogger(__name__)

# How long a client may be silent between two requests.
IDLE_CONNECTION_SECONDS = 120
# How long the system may keep what is left for a client when its connection is closed.
ORPHAN_SECONDS = 60.0
# The most bytes of a request's head.
MAX_HEAD_BYTES = 64 * 1024
# How long the end waits for handlers whose connections were cut.
CLOSE_SECONDS = 1.0
# How many requests begin in one turn of the loop. That takes some milliseconds; with fewer, batches for the database
# would be small.
REQUESTS_PER_TURN = 32
_THIS_MACHINE = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))


class Server(HTTPServer):
    """Serves an application on sockets. `limit` is the most connections; None: as open files allow."""

    def initialize(  # type: ignore[override]
        self, application: Application, *, settings: Settings, metrics: Metrics, limit: int | None = None
    ) -> None:
        super().initialize(
            application,
            idle_connection_timeout=IDLE_CONNECTION_SECONDS,
            # The handlers' own limit comes first, which gives a response.
            body_timeout=2 * BODY_SECONDS,
            max_header_size=MAX_HEAD_BYTES,
        )
        self._application = application
        self._open: set[ServerConnection] = set()
        self._metrics = metrics
        self._quick = settings.fast_flush
        self._patience = patience(settings.slow_reader_seconds, settings.ping_seconds)
        # On Linux it also ends connections that are open, if their client takes nothing: not before the sweep does.
        self._orphan_seconds = max(ORPHAN_SECONDS, 2 * settings.slow_reader_seconds)
        self._backlog = Backlog()
        self._sweep: Sweep[ServerConnection] = Sweep(
            self._open, lambda connection, now: connection.look(now), self._patience.look_seconds
        )
        self._lingering = Lingering()
        self._requests = LoopShare(REQUESTS_PER_TURN)
        self._acceptor = Acceptor(
            self._connected,
            metrics,
            limit=connection_limit() if limit is None else limit,
            per_address=settings.max_connections_per_address,
            uncounted=(*_THIS_MACHINE, *settings.trusted_proxies),
        )

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        self._acceptor.add(sockets)

    def stop(self) -> None:
        self._acceptor.stop()

    async def close_all_connections(self) -> None:
        """Cut all connections. A handler that goes on nevertheless is not waited for."""
        for connection in self._open:
            connection.close()
        served = [connection.served for connection in self._open]
        if served:
            await asyncio.wait(served, timeout=CLOSE_SECONDS)
        self._lingering.close()

    def _connected(self, connection: socket.socket, address: Any, surplus: bool) -> None:
        on_gone: Callable[[], None] = partial(self._acceptor.gone, address)
        bound(connection, self._orphan_seconds)
        stream = ServerStream(
            connection,
            surplus=surplus,
            requests=self._requests,
            lingering=self._lingering,
            idle_seconds=IDLE_CONNECTION_SECONDS,
            backlog=self._backlog,
            patience=self._patience,
            on_cut=self._cut,
            on_refusal=self._refused,
            on_gone=on_gone,
        )
        self._open.add(
            ServerConnection(
                stream,
                peer_of(connection, address),
                self.conn_params,
                self._application,
                self._open.discard,
                quick=self._quick,
            )
        )
        self._sweep.start()

    def _cut(self, reason: str) -> None:
        self._metrics.slow_readers.inc()
        logger.info("a client that %s is cut off", reason)

    def _refused(self, line: RequestLine, refusal: Refusal) -> None:
        self._metrics.request("Refusal", line.method, refusal.status, None)
