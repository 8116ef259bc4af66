"""What the system holds of the bytes that were written to a connection: it is bounded here, and asked for.

Left alone, Linux takes up to 4 MB for a client that reads nothing, so that nobody notices. What has arrived at the
client's own system and waits there cannot be seen, nor bounded, from here; but when that is full, the bytes wait here.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

# No more than this is taken for a client beyond what is on its way to it. More would not make large bodies faster.
UNSENT_BYTES = 32 * 1024

_IS_LINUX = sys.platform == "linux"
# `struct tcp_info` of linux/tcp.h up to and including `tcpi_last_ack_recv`: eight bytes, and words.
_TCP_INFO = struct.Struct("8B13I")
_ON_THEIR_WAY, _LAST_ACK_MS = 8 + 4, 8 + 12

if _IS_LINUX:
    import fcntl
    import termios


def bound(peer: socket.socket, orphan_seconds: float) -> None:
    """Have the system take few bytes for a slow client. Those that a closed socket leaves are kept so long at most."""
    if not _IS_LINUX:
        return
    with contextlib.suppress(OSError):  # it may be reset already
        if peer.family == socket.AF_UNIX:
            # Linux takes twice as many, and counts its own needs as well.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)
        else:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(orphan_seconds * 1_000))


def untaken_bytes(peer: socket.socket) -> int | None:
    """How many bytes the client has not taken. None if the system does not tell.

    TCP: those that its system has not acknowledged. Unix sockets: those that it has not read, and what the system needs
    for them.
    """
    if not _IS_LINUX:
        return None
    try:
        return int.from_bytes(fcntl.ioctl(peer, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return None


def is_silent(peer: socket.socket, seconds: float) -> bool:
    """Whether bytes are on their way, and no word has come from the client's system for so long.

    The system of a client that only does not read says that it has no room, and nothing is sent to it.
    """
    if not _IS_LINUX or peer.family == socket.AF_UNIX:
        return False
    try:
        info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return False
    if len(info) < _TCP_INFO.size:
        return False
    fields = _TCP_INFO.unpack(info)
    return bool(fields[_ON_THEIR_WAY] > 0 and fields[_LAST_ACK_MS] >= seconds * 1_000)
