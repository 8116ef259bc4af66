"""Tells which clients take nothing of what there is for them, whatever the response is."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from chatserver.web.http.kernel_buffers import is_silent, untaken_bytes

# Shorter silences are those of a network: within it, the system sends three times what is not acknowledged.
MIN_SILENT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long clients are waited for."""

    slow_seconds: float
    """How long a client may take nothing while there is something for it."""
    silent_seconds: float
    """How long nothing may come from its system while bytes are on their way to it."""
    look_seconds: float
    """How long lies between two looks."""


def patience(slow_seconds: float, ping_seconds: float) -> Patience:
    """A reader that vanished is found out when two pings have been sent to it: the first one may come as late as
    `ping_seconds` after it, and is seen one look later, as is the silence."""
    look_seconds = min(slow_seconds, ping_seconds) / 8
    return Patience(slow_seconds, max(ping_seconds - 2 * look_seconds, MIN_SILENT_SECONDS), look_seconds)


class Taking:
    """What the client of one connection was seen to take."""

    __slots__ = ("_is_unix", "_patience", "_settled_bytes", "_since", "_taken_bytes", "_written_bytes")

    def __init__(self, patience: Patience, *, is_unix: bool) -> None:
        self._patience = patience
        self._is_unix = is_unix
        self._settled_bytes = 0
        """How many bytes were written when the client was seen to have taken all of them. -1: that is not so now."""
        self._written_bytes = 0
        self._taken_bytes = 0
        self._since = 0.0
        """When the client was first seen to have taken no more than `_taken_bytes`."""

    def fault(self, peer: socket.socket, written_bytes: int, waiting: bool, now: float) -> str | None:
        """Why the client is to be cut off; None: it is not. To be asked every `look_seconds`.

        `written_bytes`: how many the system has taken for the client in all. `waiting`: whether more wait for that.
        """
        if written_bytes == self._settled_bytes and not waiting:
            return None
        untaken = untaken_bytes(peer)
        if not (untaken or waiting):
            self._settled_bytes = written_bytes
            return None
        taken = written_bytes - (untaken or 0)
        # On a Unix socket, what the system needs for new bytes hides that others were read.
        goes_on = taken > self._taken_bytes or (self._is_unix and written_bytes > self._written_bytes)
        if goes_on or self._settled_bytes >= 0:
            self._settled_bytes, self._since = -1, now
        self._written_bytes, self._taken_bytes = written_bytes, taken
        stalled_seconds, patience = now - self._since, self._patience
        if stalled_seconds >= patience.slow_seconds:
            return f"took nothing for {patience.slow_seconds:g} s"
        if stalled_seconds >= patience.silent_seconds and is_silent(peer, patience.silent_seconds):
            return f"has said nothing for {patience.silent_seconds:g} s"
        return None
