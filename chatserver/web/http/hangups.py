"""Notices at once when a client hangs up.

Tornado does not notice that a client left while bytes from it lie unread, such as a pipelined request. On Linux, epoll
reports it. Elsewhere a client that left is noticed at the next write.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable

_SUPPORTED = hasattr(select, "epoll")
# So many are told of in one turn of the loop: each may end a stream, which takes about 60 µs. The loop calls again.
HANGUPS_PER_TURN = 32


class Hangups:
    """Calls back when a peer hangs up, even while bytes from it lie unread. Uses one epoll, which the loop watches."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._closed = False
        self._callbacks: dict[int, Callable[[], None]] = {}

    def watch(self, peer: socket.socket, on_hangup: Callable[[], None]) -> None:
        """From now on, call `on_hangup` once if the peer closes its side or resets the connection.

        Whoever watches a peer has to `unwatch` it. No effect after `close`.
        """
        number = peer.fileno()
        if not _SUPPORTED or self._closed or number < 0:
            return
        with contextlib.suppress(FileExistsError):
            self._ensure_epoll().register(number, select.EPOLLRDHUP | select.EPOLLONESHOT)
        self._callbacks[number] = on_hangup

    def unwatch(self, number: int, on_hangup: Callable[[], None]) -> None:
        """End a `watch` of the peer with this file number, which may be closed. May be called again.

        By now, the number may be that of another connection; `on_hangup` tells which one is meant.
        """
        if self._callbacks.get(number) == on_hangup:
            del self._callbacks[number]
            with contextlib.suppress(OSError):
                self._ensure_epoll().unregister(number)

    def _ensure_epoll(self) -> select.epoll:
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._call_back)
        return self._epoll

    def _call_back(self) -> None:
        assert self._epoll is not None
        for number, _ in self._epoll.poll(0, HANGUPS_PER_TURN):
            callback = self._callbacks.get(number)
            if callback is not None:
                callback()

    def close(self) -> None:
        """Stop watching all peers. May be called again."""
        self._closed = True
        self._callbacks.clear()
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
