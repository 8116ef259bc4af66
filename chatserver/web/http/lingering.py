"""Closing a connection whose client may still be sending, such that the client gets to see the response.

If a socket is closed while bytes for it lie unread or still arrive, the kernel sends a reset, and the client may lose
the response before it has read it (RFC 9112, section 9.6). So the server says that it has sent everything, and discards
what comes for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

# How long a client may be silent, how long it may take in all, and how much it may send.
SILENT_SECONDS = 5.0
TOTAL_SECONDS = 30.0
DISCARDED_BYTES = 8 * 1024 * 1024

_PIECE_BYTES = 1 << 16


class Lingering:
    """The sockets that are being closed."""

    def __init__(self) -> None:
        self._open: set[_Socket] = set()

    def adopt(self, peer: socket.socket, on_close: Callable[[], None]) -> None:
        """Close a socket, now or within `TOTAL_SECONDS`. No loop may watch it. Calls `on_close` when it is closed."""

        def closed() -> None:
            self._open.discard(lingering)
            on_close()

        lingering = _Socket(peer, closed)
        self._open.add(lingering)
        lingering.start()

    def close(self) -> None:
        """Close all of them at once."""
        for lingering in list(self._open):
            lingering.close()


class _Socket:
    def __init__(self, peer: socket.socket, on_close: Callable[[], None]) -> None:
        self._peer = peer
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._number = peer.fileno()
        self._ends_at = self._loop.time() + TOTAL_SECONDS
        self._room = DISCARDED_BYTES
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        try:
            self._peer.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone already
            self._peer.close()
            self._on_close()
            return
        self._loop.add_reader(self._number, self._discard)
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(self._loop.time() + SILENT_SECONDS, self._ends_at), self.close)

    def _discard(self) -> None:
        received = 0
        with contextlib.suppress(OSError):
            try:
                received = len(self._peer.recv(_PIECE_BYTES))
            except BlockingIOError:
                return
        self._room -= received
        if received and self._room > 0:
            self._wait()
        else:
            self.close()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._number)
        self._peer.close()
        self._on_close()
