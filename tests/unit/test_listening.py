"""Where the server may listen, and the files of Unix sockets: their mode, stale ones, living ones, and their end."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatserver import listening, systemd
from chatserver.errors import ConfigurationError
from chatserver.listening import UnixListener, listen, url_of
from chatserver.settings import Settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.sock"


@pytest.fixture
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def unix(path: Path, **settings: Any) -> Settings:
    return Settings(host=f"unix:{path}", **settings)


def open_at(path: Path) -> UnixListener:
    [listener] = listen(unix(path), reuse_port=False)
    assert isinstance(listener, UnixListener)
    return listener


def refusal(settings: Settings, *, reuse_port: bool = False) -> str:
    with pytest.raises(ConfigurationError) as caught:
        listen(settings, reuse_port=reuse_port)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.usefixtures("generous_umask")
def test_socket_is_its_owners_and_groups_from_the_first_moment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    start_listening = UnixListener.listen

    def look_and_listen(listener: UnixListener, backlog: int) -> None:
        modes.append(stat.S_IMODE(path.lstat().st_mode))
        start_listening(listener, backlog)

    monkeypatch.setattr(UnixListener, "listen", look_and_listen)
    with open_at(path) as listener:
        assert modes == [0o660]
        assert stat.S_IMODE(path.lstat().st_mode) == 0o660
        assert os.umask(0) == 0, "the process has its umask back"
        assert not listener.getblocking()
        assert url_of(unix(path), listener) == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_file_goes_with_its_socket_unless_it_is_another_ones(path: Path) -> None:
    listener = open_at(path)
    listener.close()
    listener.close()
    assert not path.exists()
    listener = open_at(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        listener.close()
        assert path.exists(), "the file is another process's by now"


def test_stale_file_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with open_at(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_file_of_a_living_process_and_what_is_no_socket_are_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen(0)
        waiting = []
        for _ in range(3):  # it accepts nothing: at last no further connection has room to wait
            assert refusal(unix(path)) == f"cannot listen at unix:{path}: another process listens there"
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(str(path))
        for client in waiting:
            client.close()
    path.unlink()
    path.write_text("precious")
    for other in (path, path.with_name("link")):
        if other != path:
            other.symlink_to(path)
        assert refusal(unix(other)) == f"cannot listen at unix:{other}: there is a file that is no socket"
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nowhere/chat.sock", "No such file or directory"), ("x" * 120, "AF_UNIX path too long")],
)
def test_file_that_cannot_be_made_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    assert refusal(unix(tmp_path / name)) == f"cannot listen at unix:{tmp_path / name}: {reason}"


def test_unix_socket_is_not_shared(path: Path) -> None:
    assert refusal(unix(path), reuse_port=True).startswith("--reuse-port: a Unix socket cannot be shared")
    assert not path.exists()


def test_one_of_many_that_start_at_once_listens(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    outcomes: list[UnixListener | ConfigurationError] = []

    def start() -> None:
        try:
            outcomes.append(open_at(path))
        except ConfigurationError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [listener] = [outcome for outcome in outcomes if isinstance(outcome, UnixListener)]
    with listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_folder_that_somebody_keeps_locked_is_a_refusal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LOCK_SECONDS", 0.0)
    with listening._locked(path.parent):
        assert refusal(unix(path)).startswith(f"cannot listen at unix:{path}: ")


MEMBERSHIPS = [{"user": "ann", "admin": True}]


@pytest.mark.parametrize(
    ("settings", "may"),
    [
        ({"auth": "authenticated", "host": "0.0.0.0"}, False),
        ({"auth": "proxy", "host": "0.0.0.0", "trusted_proxies": ["unix"], "memberships": MEMBERSHIPS}, False),
        ({"auth": "authenticated", "host": "0.0.0.0", "allow_plain_http": True}, True),
        ({"auth": "authenticated", "host": "0.0.0.0", "trusted_proxies": ["10.0.0.1"]}, True),
        ({"auth": "authenticated", "host": "127.0.0.1"}, True),
        ({"auth": "authenticated", "host": "localhost"}, True),
    ],
)
@pytest.mark.parametrize("by_systemd", [False, True])
def test_tokens_cross_no_network_unencrypted_unless_said_explicitly(
    settings: dict[str, Any], may: bool, by_systemd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Settings(port=0, **settings)
    if by_systemd:
        handed_over = socket.create_server((settings["host"], 0))
        monkeypatch.setattr(systemd, "listen_sockets", lambda: [handed_over])
        chosen = chosen.model_copy(update={"host": "127.0.0.1"})
    if may:
        for listener in listen(chosen, reuse_port=False):
            listener.close()
    else:
        message = refusal(chosen)
        assert message.startswith("systemd's socket is open" if by_systemd else f"{settings['host']}:0 is open")
        assert "trusted_proxies" in message
        assert "allow_plain_http = true" in message


def test_socket_of_systemd_is_on_this_machine_in_local_trusted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address, family, may in ((("0.0.0.0", 0), socket.AF_INET, False), (str(path), socket.AF_UNIX, True)):
        with socket.socket(family) as handed_over:
            handed_over.bind(address)
            monkeypatch.setattr(systemd, "listen_sockets", lambda given=handed_over: [given])
            if may:
                assert listen(Settings(), reuse_port=False) == [handed_over]
            else:
                assert refusal(Settings()) == "systemd's socket is not on a loopback address, which local_trusted needs"
    assert path.exists(), "it is systemd's file"
