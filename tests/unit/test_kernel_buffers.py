"""What the system takes for a client that reads nothing is bounded, and it tells how much that is."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from chatserver.web.http.kernel_buffers import UNSENT_BYTES, bound, is_silent, untaken_bytes
from tests.kit.waiting import eventually_blocking

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system is left alone")


@contextmanager
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(listener.getsockname())
        served, _ = listener.accept()
        with served:
            yield served, client


@contextmanager
def unix() -> Iterator[tuple[socket.socket, socket.socket]]:
    served, client = socket.socketpair(socket.AF_UNIX)
    with served, client:
        yield served, client


@pytest.mark.parametrize("pair", [tcp, unix])
@pytest.mark.parametrize("piece", [100, 1_000_000])
def test_system_takes_few_bytes_for_a_client_that_reads_nothing(
    pair: Callable[[], AbstractContextManager[tuple[socket.socket, socket.socket]]], piece: int
) -> None:
    with pair() as (served, client):
        bound(served, 60)
        served.setblocking(False)
        written = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                written += served.send(bytes(piece))
        untaken = untaken_bytes(served)
        assert untaken is not None
        assert UNSENT_BYTES / 8 < written < 4 * UNSENT_BYTES
        assert 0 < untaken < 4 * UNSENT_BYTES
        eventually_blocking(lambda: not is_silent(served, 0))  # nothing is on its way: the client has no room
        while written:
            written -= len(client.recv(written))
        eventually_blocking(lambda: untaken_bytes(served) == 0)
