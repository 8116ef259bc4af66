"""Notices at once when a client hangs up.

Tornado does not notice that a client left while bytes from it lie unread, such as a pipelined request. On Linux, epoll
reports it. Elsewhere a client that left is noticed at the next write.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SUPPORTED = hasattr(select, "epoll")


class Hangups:
    """Calls back when a peer hangs up, even while bytes from it lie unread. Uses one epoll, which the loop watches."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._closed = False
        self._callbacks: dict[int, Callable[[], None]] = {}

    @contextmanager
    def watched(self, peer: socket.socket, on_hangup: Callable[[], None]) -> Iterator[None]:
        """Within this context, `on_hangup` is called once if the peer closes its side or resets the connection.

        No effect after `close`.
        """
        if not _SUPPORTED or self._closed or peer.fileno() < 0:
            yield
            return
        number = peer.fileno()
        epoll = self._ensure_epoll()
        with contextlib.suppress(FileExistsError):
            epoll.register(number, select.EPOLLRDHUP | select.EPOLLONESHOT)
        self._callbacks[number] = on_hangup
        try:
            yield
        finally:
            # If the socket was closed meanwhile, another connection may have its number by now.
            if self._callbacks.get(number) is on_hangup:
                del self._callbacks[number]
                with contextlib.suppress(OSError):
                    epoll.unregister(number)

    def _ensure_epoll(self) -> select.epoll:
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._call_back)
        return self._epoll

    def _call_back(self) -> None:
        assert self._epoll is not None
        for number, _ in self._epoll.poll(0):
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
