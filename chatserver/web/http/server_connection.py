"""A connection of the server, whose requests are served one after the other."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.iostream import StreamClosedError, UnsatisfiableReadError

from chatserver.settings_types import UNIX
from chatserver.web.http.application import Application
from chatserver.web.http.quick_connection import QuickConnection
from chatserver.web.http.server_stream import ServerStream

logger = logging.getLogger(__name__)


class Peer(NamedTuple):
    """What requests know of their connection, as in Tornado. `remote_ip` is `unix` on a Unix socket."""

    remote_ip: str
    protocol: str

    def __str__(self) -> str:
        return self.remote_ip


def peer_of(connection: socket.socket, address: Any) -> Peer:
    is_internet = connection.family in (socket.AF_INET, socket.AF_INET6)
    return Peer(address[0] if is_internet else UNIX, "http")


class ServerConnection:
    """Serves a connection until it is closed. Calls `on_end` then."""

    def __init__(
        self,
        stream: ServerStream,
        peer: Peer,
        parameters: HTTP1ConnectionParameters,
        application: Application,
        on_end: Callable[[ServerConnection], None],
        *,
        quick: bool,
    ) -> None:
        self._stream = stream
        self._peer = peer
        self._parameters = parameters
        self._application = application
        self._on_end = on_end
        self._kind = QuickConnection if quick else HTTP1Connection
        self.served: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._serve_all())
        """Done when the last request was served."""

    def close(self) -> None:
        self._stream.close()

    def look(self, now: float) -> bool:
        """Cut the client off if it takes nothing; whether that was so. `now`: the loop's time."""
        return self._stream.look(now)

    async def _serve_all(self) -> None:
        try:
            while await self._serve_one():
                pass
        except (StreamClosedError, UnsatisfiableReadError):
            pass
        except Exception:
            logger.exception("a connection is closed")
            self._stream.close()
        finally:
            self._on_end(self)

    async def _serve_one(self) -> bool:
        """Serve the next request; whether there may be another one."""
        connection = self._kind(self._stream, False, self._parameters, self._peer)
        return await connection.read_response(self._application.start_request(self, connection))
