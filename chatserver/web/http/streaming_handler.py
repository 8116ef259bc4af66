"""The base of handlers whose response is sent piece by piece, to a client that may be slow or leave."""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from chatserver.web.handler_context import HandlerContext
from chatserver.web.http.base_handler import ApiHandler

# What nginx logs if a client leaves before the response: no status is sent.
CLIENT_LEFT = 499


class StreamingHandler(ApiHandler):
    """There is one writer. When the client has left, `wake` is called."""

    timed: bool = False  # its duration depends on the client

    def initialize(self, context: HandlerContext) -> None:
        super().initialize(context)
        self.gone = False
        """Whether the client has left, or lost access."""
        self._watched: int | None = None
        """The file number of the connection if it is watched."""

    async def admit(self) -> None:
        await super().admit()
        if self.request.method != "OPTIONS" and self.actor.access is not None:
            self.context.watch.hold(self.actor.access, self)

    async def serve(self, prepared: asyncio.Future[None] | None) -> None:
        try:
            await super().serve(prepared)
        finally:
            actor = getattr(self, "actor", None)
            if actor is not None and actor.access is not None:
                self.context.watch.release(actor.access, self)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.gone = True
        self.wake()

    def on_finish(self) -> None:
        self._unwatch_peer()

    def wake(self) -> None:
        """Tell the writer that the client has left. The default does nothing, for writers that never wait long."""

    @property
    def connection(self) -> HTTP1Connection:
        return cast(HTTP1Connection, self.request.connection)

    def begin_body(self) -> None:
        """Prepare the response. To be called before the first `send`. The body of the request is not kept for it."""
        self._incoming.release()
        if self.request.version == "HTTP/1.0":
            # A body of HTTP/1.0 ends with the connection.
            self.set_header("Connection", "close")
        stream = self.connection.stream
        if not stream.closed():
            # Sockets from systemd do not have it set.
            stream.set_nodelay(True)
        self.watch_peer()

    def watch_peer(self) -> None:
        """Notice from now on when the client leaves. May be called again."""
        stream = self.connection.stream
        if self._watched is None and not stream.closed():
            self._watched = stream.socket.fileno()
            self.context.hangups.watch(stream.socket, self._hung_up)

    def _unwatch_peer(self) -> None:
        if self._watched is not None:
            self.context.hangups.unwatch(self._watched, self._hung_up)
            self._watched = None

    def _hung_up(self) -> None:
        """The peer left."""
        self.gone = True
        self.connection.stream.close()
        self.wake()

    async def send(self, data: bytes) -> None:
        """Write and flush. Raises StreamClosedError if the client is gone or cut off."""
        self.write(data)
        await self.flush()

    def look(self, now: float) -> None:  # noqa: ARG002
        """Called every few moments while the response is open. `now`: the loop's time."""
        if self.actor.until is not None and monotonic() >= self.actor.until:
            self.access_lost()

    def access_lost(self) -> None:
        """Whoever asked for the response may no longer have it, or has to say anew who it is: cut the connection."""
        self.gone = True
        self.reset()
        self.wake()

    def require_client(self) -> None:
        """Raises StreamClosedError if the client has left, or has lost access: nothing is begun for it."""
        if self.gone:
            raise StreamClosedError

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if isinstance(kwargs.get("exc_info", (None, None, None))[1], StreamClosedError):
            self.set_status(CLIENT_LEFT, "Client left")
            self.finish()
            return
        super().write_error(status_code, **kwargs)

    def end_body(self) -> None:
        """End a response that is complete, or whose client is gone."""
        self._unwatch_peer()
        with contextlib.suppress(StreamClosedError):
            self.finish()
        if self._stream is not None and self.request.version == "HTTP/1.0":
            # A body of HTTP/1.0 ends with the connection, and that with its last byte.
            self._stream.is_last = True

    def cut_off(self) -> None:
        """End an incomplete response such that nobody takes it for complete."""
        self.reset()
        self.end_body()

    def reset(self) -> None:
        """Cut the connection. The writer has still to end the response."""
        if self._stream is not None:
            self._stream.reset()
