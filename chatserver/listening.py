"""The sockets on which the server listens: those of systemd, a Unix socket, or TCP; and which of them it refuses."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tornado.netutil

from chatserver import systemd
from chatserver.errors import ConfigurationError
from chatserver.settings import Settings
from chatserver.settings_types import UNIX, is_loopback, socket_host, socket_path

# The most connections that wait to be accepted: after a restart a crowd of readers comes back at once.
BACKLOG = 4_096
# What a new Unix socket's file is denied: all to others than its owner and group, who may read and write.
_UMASK = 0o117
# How long other processes may take to look at a Unix socket's file, or to make one.
LOCK_SECONDS = 3.0


def listen(settings: Settings, *, reuse_port: bool) -> list[socket.socket]:
    """The sockets that systemd handed over, or else our own. Raises ConfigurationError."""
    listeners: Sequence[socket.socket] = systemd.listen_sockets()
    whose = "systemd's socket"
    if not listeners:
        whose = address = f"{settings.host}:{settings.port}"
        path = socket_path(settings.host)
        try:
            if path is None:
                listeners = _listen_at_port(settings, reuse_port=reuse_port)
            else:
                address = settings.host
                listeners = [_listen_at_file(path, reuse_port=reuse_port)]
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(f"cannot listen at {address}: {reason}") from error
    try:
        for listener in listeners:
            _require_safety(settings, listener, whose)
    except ConfigurationError:
        for listener in listeners:
            listener.close()
        raise
    return list(listeners)


def url_of(settings: Settings, listener: socket.socket) -> str:
    """Where a socket is reached: a URL, or `unix:PATH`."""
    if listener.family == socket.AF_UNIX:
        return socket_host(listener.getsockname())
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"


def _require_safety(settings: Settings, listener: socket.socket, whose: str) -> None:
    if listener.family == socket.AF_UNIX or is_loopback(listener.getsockname()[0]):
        return
    if settings.auth == "local_trusted":
        raise ConfigurationError(f"{whose} is not on a loopback address, which local_trusted needs")
    has_proxy = any(proxy != UNIX for proxy in settings.trusted_proxies)
    if not has_proxy and not settings.allow_plain_http:
        raise ConfigurationError(
            f"{whose} is open to other machines, and without TLS tokens would cross the network unencrypted: name the "
            "proxy that ends the TLS in trusted_proxies, or set allow_plain_http = true"
        )


def _listen_at_port(settings: Settings, *, reuse_port: bool) -> list[socket.socket]:
    sockets = tornado.netutil.bind_sockets(settings.port, settings.host, backlog=BACKLOG, reuse_port=reuse_port)
    for listener in sockets:
        # Accepted connections inherit it: a token does not wait for the acknowledgement of the one before.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sockets


# --- Unix sockets -----------------------------------------------------------------------------------------


class UnixListener(socket.socket):
    """A listening Unix socket, whose file goes when it is closed, if the file is still its own."""

    def __init__(self, path: Path) -> None:
        """Makes the file, which must not be there. Raises OSError."""
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = path
        self._file: tuple[int, int] | None = None
        try:
            self.setblocking(False)
            # At no moment may others connect, so the mode cannot be set afterwards.
            before = os.umask(_UMASK)
            try:
                self.bind(str(path))
            finally:
                os.umask(before)
            self._file = _identity(path)
            self.listen(BACKLOG)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """May be called again."""
        # While the socket is open, no other file can have the number of its file.
        if self._file is not None and self._file == _identity(self._path):
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._file = None
        super().close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _listen_at_file(path: Path, *, reuse_port: bool) -> UnixListener:
    if reuse_port:
        raise ConfigurationError("--reuse-port: a Unix socket cannot be shared; give each process one of its own")
    with _locked(path.parent):
        _remove_stale(path)
        return UnixListener(path)


def _remove_stale(path: Path) -> None:
    """Remove the socket file of a process that ended without removing it. Raises ConfigurationError for other files."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigurationError(f"cannot listen at {socket_host(path)}: there is a file that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a process that accepts nothing is alive all the same
        code = probe.connect_ex(str(path))
    if code == errno.ECONNREFUSED:
        path.unlink()
    elif code in (0, errno.EAGAIN):
        raise ConfigurationError(f"cannot listen at {socket_host(path)}: another process listens there")
    elif code != errno.ENOENT:
        raise OSError(code, os.strerror(code))


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """One process at a time: two that start at once would each take the other's new socket for a stale one."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(lock)
