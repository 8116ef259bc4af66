"""systemd's notices (sd_notify(3)) and sockets (sd_listen_fds(3)) for a service.

Without systemd's environment variables every function here does nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket

from chatserver.errors import ConfigurationError

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"

_FIRST_SOCKET = 3


def notify(state: str) -> None:
    """Send READY, STOPPING, WATCHDOG, or any `NAME=value` line, to the service manager.

    Never raises and never waits: a manager that does not listen must do no harm.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto(state.encode(), address)


def watchdog_seconds() -> float | None:
    """Seconds between two WATCHDOG notices: half of what the unit allows (sd_watchdog_enabled(3)). None: never."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / 2_000_000


def listen_sockets() -> list[socket.socket]:
    """The listening sockets that the service manager opened for this process, non-blocking; usually none.

    Removes the variables from the environment, so that no child takes the sockets for its own; a second call gives
    none. Raises ConfigurationError for a socket that is not a listening stream socket.
    """
    count = os.environ.pop("LISTEN_FDS", "")
    owner = os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if owner != str(os.getpid()) or not count.isdecimal():
        return []
    return [_adopt(number) for number in range(_FIRST_SOCKET, _FIRST_SOCKET + int(count))]


def _adopt(number: int) -> socket.socket:
    try:
        os.set_inheritable(number, False)
        listener = socket.socket(fileno=number)
    except OSError:
        raise ConfigurationError(f"file descriptor {number}, handed over by systemd, is not a socket") from None
    listening = listener.type == socket.SOCK_STREAM and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not listening:
        raise ConfigurationError(f"file descriptor {number}, handed over by systemd, is not a listening stream socket")
    listener.setblocking(False)
    return listener
