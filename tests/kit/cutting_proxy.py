"""A network that can be cut or slow: a TCP proxy in front of the server, in threads of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

CUT_AFTER_EVENTS = 3


class CuttableProxy:
    """`with CuttableProxy(url) as proxy` listens at `proxy.url`. While it is down, it closes new connections at once.

    It delays what it passes on, in both directions, by `delay_seconds`, which may be changed; with `delays_answers`
    only what comes from the target. While it `swallows`, nothing arrives, and nobody is told. The first `cuts_left`
    event streams are cut after CUT_AFTER_EVENTS events each. The target may be a libpq URL with the folder of a Unix
    socket.
    """

    def __init__(
        self, target_url: str, delay_seconds: float = 0, *, cuts: int = 0, delays_answers: bool = False
    ) -> None:
        self.delay_seconds = delay_seconds
        self.cuts_left = cuts
        self.swallows = False
        self._delays_answers = delays_answers
        self._target = _address(target_url)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._down = False

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self, *, stay_down: bool = False) -> None:
        """Close all connections; with `stay_down`, also new ones until `heal`."""
        with self._lock:
            self._down = stay_down
            for pair in self._pairs:
                for end in pair:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        with self._lock:
            self._down = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut(stay_down=True)

    def _take_cut(self) -> bool:
        with self._lock:
            self.cuts_left -= (cut := self.cuts_left > 0)
            return cut

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    if self._down:
                        client.close()
                        continue
                    pair = (client, _connected(self._target))
                    self._pairs.add(pair)
                threading.Thread(target=self._serve, args=[pair], daemon=True).start()

    def _serve(self, pair: tuple[socket.socket, socket.socket]) -> None:
        client, server = pair
        upstream = threading.Thread(target=self._copy, args=[client, server], daemon=True)
        upstream.start()
        self._copy(server, client, may_cut=True)
        upstream.join()
        with self._lock:
            self._pairs.discard(pair)
        client.close()
        server.close()

    def _copy(self, source: socket.socket, sink: socket.socket, *, may_cut: bool = False) -> None:
        events = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if may_cut or not self._delays_answers:
                    time.sleep(self.delay_seconds)
                if self.swallows:
                    continue
                sink.sendall(data)
                events += data.count(b"\ndata: ")
                if may_cut and events >= CUT_AFTER_EVENTS and self._take_cut():
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _address(url: str) -> str | tuple[str, int]:
    """The path of a Unix socket, or a host and a port."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    folder = query.get("host", [""])[0] or unquote(parts.hostname or "")
    if folder.startswith("/"):
        return f"{folder}/.s.PGSQL.{parts.port or query.get('port', ['5432'])[0]}"
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


def _connected(address: str | tuple[str, int]) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection
