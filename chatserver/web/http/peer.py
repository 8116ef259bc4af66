"""What the kernel knows of the other end of a connection, and Tornado does not tell.

A peer that left is not noticed by Tornado while bytes of it lie unread, such as a pipelined request; a peer that
vanished is not noticed at all until the buffers are full; and whether a slow one takes anything the length of a write
does not show. Where the kernel does not say either (it does on Linux), the ordinary ways have to do.
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
    """How far the peer has come."""

    acknowledged_bytes: int
    silent_seconds: float
    """For how long it has acknowledged nothing although something was sent; 0 where it owes nothing."""


def progress(peer: socket.socket) -> Progress | None:
    """None where the kernel does not say, and for sockets that are not TCP's."""
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
    """Tells of peers that hung up, at once and whatever lies unread: one epoll of its own, watched by the loop."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}

    @contextmanager
    def watched(self, peer: socket.socket, on_hangup: Callable[[], None]) -> Iterator[None]:
        """In here `on_hangup` is called, once, when the peer closes its side or resets the connection."""
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
            # Closed meanwhile, its number may be another connection's by now.
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
        """Watch nobody any more."""
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
