"""Accepting connections, as many as the process may have open files for.

Some files are kept in reserve: the database, models and the log need them however many clients there are. A few
connections more are accepted than there is room for, so that health checks get through and others a clear response.
Beyond them nothing is accepted: clients wait until a connection is closed. The log says so once.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any

from tornado.ioloop import IOLoop

from chatserver.metrics import Metrics
from chatserver.settings_types import TrustedPeer
from chatserver.web.http.client_address import counted_address, is_in

logger = logging.getLogger(__name__)

# Connections beyond the limit: they are served one request each.
SURPLUS = 16
# How long accepting pauses if the system has no more files or memory. A closed connection ends the pause earlier.
PAUSE_SECONDS = 1.0
# The log says that connections are accepted again when that has lasted so long: it is not told of each pause.
RECOVERED_SECONDS = 5.0
# So many connections are accepted in one turn of the loop. Most of them bring a request, so that more would only wait.
CONNECTIONS_PER_TURN = 4
# So many more that are closed already: in a flood of them, others would wait behind them in the queue of the system.
DEAD_PER_TURN = 64
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def connection_limit() -> int:
    """How many connections there is room for, 8 in any case.

    A quarter of the open files, 64 to 1,024 of them, is kept in reserve.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return 1_000_000
    return max(files - max(min(files // 4, 1_024), 64), 8)


class Acceptor:
    """Accepts connections and hands them to `on_connection(socket, address, surplus)`, which owns them from then on.

    Whoever closes a connection calls `gone(address)`.
    """

    def __init__(
        self,
        on_connection: Callable[[socket.socket, Any, bool], None],
        metrics: Metrics,
        *,
        limit: int,
        per_address: int = 0,
        uncounted: Collection[TrustedPeer] = (),
    ) -> None:
        """`limit`: the most connections without the surplus. `per_address`: the most of one address, 0 for no limit;
        those of `uncounted` networks and of Unix sockets are not counted."""
        self._on_connection = on_connection
        self._metrics = metrics
        self._limit = limit
        self._per_address = per_address
        self._uncounted = tuple(uncounted)
        self._listeners: dict[int, socket.socket] = {}
        self._open = 0
        self._of_address: Counter[str] = Counter()
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._told = False

    def add(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections on these sockets."""
        for listener in listeners:
            self._listeners[listener.fileno()] = listener
            self._watch(listener)

    def stop(self) -> None:
        """Accept nothing any more, and close the sockets. May be called again."""
        for listener in self._listeners.values():
            if not self._paused:
                IOLoop.current().remove_handler(listener)
            listener.close()
        self._listeners.clear()
        self._paused = False
        self._set_timer(None)

    def gone(self, address: Any) -> None:
        """A connection was closed."""
        self._open -= 1
        self._metrics.connections.set(self._open)
        key = self._key(address)
        if key is not None:
            self._of_address[key] -= 1
            if not self._of_address[key]:
                del self._of_address[key]
        if self._paused:
            self._resume()

    # --- accepting ------------------------------------------------------------------------------------------------

    def _watch(self, listener: socket.socket) -> None:
        IOLoop.current().add_handler(listener, self._accept, IOLoop.READ)

    def _accept(self, listener: Any, _events: int) -> None:
        room, dead_room = CONNECTIONS_PER_TURN, DEAD_PER_TURN
        while room and dead_room:
            if listener.fileno() not in self._listeners:
                return  # it was closed
            if self._open >= self._limit + SURPLUS:
                self._pause(f"{self._open} connections are open, all that the limit of open files allows")
                return
            try:
                connection, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(f"no connection can be accepted: {error.strerror}")
                    return
                dead_room -= 1
                continue  # that connection failed before it was accepted
            if _is_dead(connection):
                dead_room -= 1
                connection.close()
            else:
                room -= 1
                self._take(connection, address)

    def _take(self, connection: socket.socket, address: Any) -> None:
        key = self._key(address)
        if key is not None:
            if self._of_address[key] >= self._per_address:
                self._metrics.connections_refused.inc()
                connection.close()
                return
            self._of_address[key] += 1
        self._open += 1
        self._metrics.connections.set(self._open)
        try:
            self._on_connection(connection, address, self._open > self._limit)
        except Exception:
            logger.exception("a connection could not be served")
            connection.close()
            self.gone(address)

    def _key(self, address: Any) -> str | None:
        """By what the connections of an address are counted; None if they are not."""
        if not self._per_address or not isinstance(address, tuple):
            return None
        host = str(address[0])
        return None if is_in(host, self._uncounted) else counted_address(host)

    # --- pauses ---------------------------------------------------------------------------------------------------

    def _pause(self, reason: str) -> None:
        if not self._told:
            self._told = True
            logger.warning("%s: new ones wait", reason)
        self._paused = True
        for listener in self._listeners.values():
            IOLoop.current().remove_handler(listener)
        self._set_timer(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._paused = False
        for listener in self._listeners.values():
            self._watch(listener)
        self._set_timer(RECOVERED_SECONDS, self._recovered)

    def _recovered(self) -> None:
        if self._open > self._limit:
            self._set_timer(RECOVERED_SECONDS, self._recovered)
        elif self._told:
            self._told = False
            logger.info("connections are accepted again")

    def _set_timer(self, seconds: float | None, then: Callable[[], None] = lambda: None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, then)


def _is_dead(connection: socket.socket) -> bool:
    """Whether a connection was closed before it could be accepted, or was reset: nothing is to be made for it.

    One that brought a request, and whose client sends no more, waits for the response.
    """
    try:
        connection.setblocking(False)
        return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) or not connection.recv(
            1, socket.MSG_PEEK
        )
    except BlockingIOError:
        return False
    except OSError:
        return True
