"""systemd's notices and sockets, with real sockets."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatserver import systemd


@pytest.fixture(autouse=True)
def _outside_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        monkeypatch.delenv(name, raising=False)


# --- notices -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager, named in NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        if request.param == "path":
            channel.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        else:
            channel.bind(f"\0chatserver-test-{os.getpid()}-{id(channel)}")
            monkeypatch.setenv("NOTIFY_SOCKET", "@" + channel.getsockname()[1:].decode())
        channel.settimeout(5)
        yield channel


def test_notices_arrive(manager: socket.socket) -> None:
    for state in (systemd.READY, systemd.WATCHDOG, systemd.STOPPING):
        systemd.notify(state)
    assert [manager.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_notice_to_a_manager_that_does_not_read_does_not_block(manager: socket.socket) -> None:
    for _ in range(5_000):  # more than any queue of datagrams holds
        systemd.notify(systemd.WATCHDOG)
    assert manager.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", [None, "", "relative", "/no/such/socket", "@no-such-socket"])
def test_without_a_manager_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify(systemd.READY)


# --- the watchdog ------------------------------------------------------------------------------------------


def test_watchdog_interval_is_half_of_what_the_unit_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert systemd.watchdog_seconds() == 15
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert systemd.watchdog_seconds() == 15


def test_watchdog_of_another_process_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert systemd.watchdog_seconds() is None


@pytest.mark.parametrize("microseconds", [None, "", "0", "-5", "soon"])
def test_without_a_watchdog_there_is_no_interval(microseconds: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if microseconds is not None:
        monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    assert systemd.watchdog_seconds() is None


# --- sockets -----------------------------------------------------------------------------------------------
# In this process file descriptors from 3 on are in use, so a child takes the sockets over.

CHILD = """
import os, sys
from chatserver import systemd
from chatserver.errors import ConfigurationError

if sys.argv[1] == "ours":
    os.environ["LISTEN_PID"] = str(os.getpid())
try:
    sockets = systemd.listen_sockets()
except ConfigurationError as error:
    print(error.message)
else:
    for listener in sockets:
        print(listener.getsockname()[1], listener.getblocking(), os.get_inheritable(listener.fileno()))
        listener.close()
    print(sorted(name for name in os.environ if name.startswith("LISTEN_")), systemd.listen_sockets())
"""


def taken_over(*files: int, owner: str = "ours", count: str | None = None) -> list[str]:
    """The output of a child that gets `files` as file descriptors from 3 on, as systemd passes them."""
    environment = os.environ | {
        "LISTEN_FDS": str(len(files)) if count is None else count,
        "LISTEN_PID": "1",
        "LISTEN_FDNAMES": "a:b",
        "PYTHONPATH": str(Path(systemd.__file__).parents[1]),
    }
    out_read, out_write = os.pipe()
    # Out of the way first: one of them may itself stand at 3 or 4.
    moved = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10) for number in files]
    actions = [(os.POSIX_SPAWN_DUP2, out_write, 1)]
    actions += [(os.POSIX_SPAWN_DUP2, number, 3 + place) for place, number in enumerate(moved)]
    child = os.posix_spawn(
        sys.executable, [sys.executable, "-W", "error", "-c", CHILD, owner], environment, file_actions=actions
    )
    os.close(out_write)
    for number in moved:
        os.close(number)
    with open(out_read) as output:
        lines = output.read().splitlines()
    assert os.waitpid(child, 0)[1] == 0
    return lines


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_listening_sockets_are_taken_over_once() -> None:
    with listener() as one, listener() as two:
        lines = taken_over(one.fileno(), two.fileno())
        ports = [str(listener.getsockname()[1]) for listener in (one, two)]
    assert lines == [f"{ports[0]} False False", f"{ports[1]} False False", "[] []"]


def test_sockets_of_another_process_are_ignored() -> None:
    with listener() as one:
        assert taken_over(one.fileno(), owner="another") == ["[] []"]


@pytest.mark.parametrize("count", ["", "-1", "two"])
def test_malformed_socket_count_is_ignored(count: str) -> None:
    assert taken_over(count=count) == ["[] []"]


def test_datagram_socket_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert "file descriptor 3, handed over by systemd, is not a listening" in taken_over(datagrams.fileno())[0]


def test_connected_socket_is_refused() -> None:
    with listener() as one, socket.create_connection(one.getsockname()) as connection:
        assert "is not a listening stream socket" in taken_over(connection.fileno())[0]


def test_file_descriptor_of_a_file_is_refused() -> None:
    with Path(os.devnull).open() as file:
        assert taken_over(file.fileno()) == ["file descriptor 3, handed over by systemd, is not a socket"]
