"""How much of the data that was sent the other end of a TCP connection has acknowledged.

The length of a write does not show whether a slow client takes anything, and Tornado does not notice a client that
vanished until the buffers are full. The Linux kernel knows both.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

_SUPPORTED = hasattr(socket, "TCP_INFO")
# `struct tcp_info` of linux/tcp.h up to and including `tcpi_bytes_acked`: eight bytes, 24 words, three double words.
_TCP_INFO = struct.Struct("8B24I3Q")
_UNACKNOWLEDGED, _LAST_ACK_MS, _BYTES_ACKNOWLEDGED = 8 + 4, 8 + 12, 8 + 24 + 2


class Progress(NamedTuple):
    """What the peer has acknowledged so far."""

    acknowledged_bytes: int
    silent_seconds: float
    """How long ago the peer last acknowledged something; 0 if it has acknowledged everything."""


def progress(peer: socket.socket) -> Progress | None:
    """The progress of a TCP connection's peer. None if the kernel does not report it, or the socket is not TCP."""
    if not _SUPPORTED or peer.family == socket.AF_UNIX:
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
