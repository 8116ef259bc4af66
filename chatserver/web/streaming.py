"""What handlers share whose answer is sent piece by piece, to a client that may be slow or leave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import ClassVar, cast

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from chatserver.web.base import ApiHandler
from chatserver.web.services import Services


class StreamingHandler(ApiHandler):
    """There is one writer, the method that serves the request; whatever happens meanwhile wakes it by `wake`."""

    timed: ClassVar[bool] = False  # it lasts as long as the client takes

    def initialize(self, services: Services) -> None:
        super().initialize(services)
        self.gone = False
        """Whether the client left."""

    def on_connection_close(self) -> None:
        self.gone = True
        self.wake()

    def wake(self) -> None:
        """Have the writer look what has changed; one that looks often anyway needs not be woken."""

    @property
    def connection(self) -> HTTP1Connection:
        return cast(HTTP1Connection, self.request.connection)

    def begin_body(self) -> None:
        """To be called before the first `send`."""
        if self.request.version == "HTTP/1.0":
            # Such a body ends with the connection.
            self.set_header("Connection", "close")
        if self.connection.stream.closed():
            return
        stream = self.connection.stream
        # systemd's sockets come without it.
        stream.set_nodelay(True)
        if hasattr(socket, "TCP_USER_TIMEOUT") and stream.socket.family != socket.AF_UNIX:
            # A peer that vanished without a word takes nothing, either.
            milliseconds = int(self.services.settings.slow_reader_seconds * 1000)
            stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    async def send(self, data: bytes) -> None:
        """Write and flush; raises TimeoutError when the reader takes nothing, StreamClosedError when it is gone."""
        self.write(data)
        flushed = self.flush()
        if flushed.done():
            flushed.result()
            return
        async with asyncio.timeout(self.services.settings.slow_reader_seconds):
            await flushed

    def end_body(self) -> None:
        """The answer is complete, or nobody is there to see."""
        with contextlib.suppress(StreamClosedError):
            self.finish()
        if self.request.version == "HTTP/1.0":
            self.connection.stream.close()

    def cut_off(self) -> None:
        """End an answer that is not complete so that nobody takes it for complete."""
        stream = self.connection.stream
        if not stream.closed():
            # With a reset: where a body ends with the connection, nothing else tells.
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()
        self.end_body()
