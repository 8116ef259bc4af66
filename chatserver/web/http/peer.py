"""The peer of a connection, as the kernel knows it: whether it hung up, and whether it takes what was sent.

Tornado does not notice that a peer left while bytes of it are unread, such as a pipelined request. It notices a
vanished peer only when the buffers are full, and cannot tell whether a slow one takes anything. On other systems than
Linux the kernel does not tell either, and Tornado's ways have to suffice.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

_LINUX = hasattr(select, "epoll") and hasattr(socket, "TCP_INFO")
# `struct tcp_info` of linux/tcp.h up to and with `tcpi_bytes_acked`: eight bytes, 24 words, three double words.
_TCP_INFO = struct.Struct("8B24I3Q")
_UNACKNOWLEDGED, _LAST_ACK_MS, _BYTES_ACKNOWLEDGED = 8 + 4, 8 + 12, 8 + 24 + 2


class Progress(NamedTuple):
    """What the peer has acknowledged."""

    acknowledged_bytes: int
    silent_seconds: float
    """How long the peer has acknowledged nothing although something was sent; 0: nothing is outstanding."""


def progress(peer: socket.socket) -> Progress | None:
    """The progress of a socket's peer; None: the kernel does not say, or it is not a TCP socket."""
    if not _LINUX or peer.family == socket.AF_UNIX:
        return None
    try:
        info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return None
    if len(info) < _TCP_INFO.size:
        return None
    fields = _TCP_INFO.unpack(info)
    silent = fields[_LAST_ACK_MS] / 1000 if fields[_UNACKNOWLEDGED] else 0.0
    return Progress(fields[_BYTES_ACKNOWLEDGED], silent)


class Hangups:
    """Reports peers that hang up, at once, even if bytes are unread: an epoll of its own, watched by the loop."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}

    @contextmanager
    def watched(self, peer: socket.socket, on_hangup: Callable[[], None]) -> Iterator[None]:
        """In here `on_hangup` is called once if the peer closes its side or resets the connection."""
        if not _LINUX or peer.fileno() < 0:
            yield
            return
        number = peer.fileno()
        epoll = self._started()
        with contextlib.suppress(FileExistsError):
            epoll.register(number, select.EPOLLRDHUP | select.EPOLLONESHOT)
        self._callbacks[number] = on_hangup
        try:
            yield
        finally:
            # If the socket was closed meanwhile, its number may belong to another connection.
            if self._callbacks.get(number) is on_hangup:
                del self._callbacks[number]
                with contextlib.suppress(OSError):
                    epoll.unregister(number)

    def _started(self) -> select.epoll:
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._tell)
        return self._epoll

    def _tell(self) -> None:
        assert self._epoll is not None
        for number, _ in self._epoll.poll(0):
            callback = self._callbacks.get(number)
            if callback is not None:
                callback()

    def close(self) -> None:
        """Watch no connection any more. May be called again."""
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
