"""The embedded PostgreSQL with real processes: started, shared, stopped in order, wherever its folder is."""

from __future__ import annotations

import io
import os
import stat
import threading
from pathlib import Path

import pytest

from chatserver.storage.postgres.embedded import EmbeddedPostgres, StartGivenUpError
from chatserver.storage.postgres.supervisor import LOG_BYTES, ServerLog
from tests.kit.process_table import postmaster, server_processes, wait_for_end
from tests.kit.waiting import eventually_blocking
from tests.process.embedded_database import UseDatabase, query, remember, remembered, server_log


def test_fresh_directory_becomes_a_database_only_for_its_owner(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    try:
        assert url.startswith("postgresql://")
        assert query(url, "SHOW server_version").startswith("18")
        assert query(
            url, "SELECT datlocprovider::text || ' ' || datlocale FROM pg_database WHERE datname='postgres'"
        ) == ("b C.UTF-8")
        assert query(url, "SHOW fsync") == "on"
        assert query(url, "SHOW listen_addresses") == ""
        assert query(url, "SHOW data_checksums") == "on"
        for folder in (data_dir, data_dir / "postgres", data_dir / "postgres" / "data"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        environment = Path(f"/proc/{postmaster(data_dir)}/environ").read_bytes().split(b"\0")
        names = {variable.partition(b"=")[0] for variable in environment if variable}
        assert {name for name in names if not name.startswith(b"PG")} <= {
            b"PATH", b"LD_LIBRARY_PATH", b"TMPDIR", b"LC_ALL", b"TZ",
        }  # fmt: skip
    finally:
        server.stop()


def test_start_after_stop_finds_the_data(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    server.stop()
    url = server.start()
    assert server.start() == url
    remember(url)
    pids = server_processes(data_dir)
    server.stop()
    assert server_processes(data_dir) == []
    server.stop()
    wait_for_end(*pids, seconds=0)
    assert remembered(server.start())
    server.stop()
    log = server_log(data_dir)
    assert log.count("database system is shut down") == 2
    assert "not properly shut down" not in log


def test_start_that_is_given_up_uses_no_server(data_dir: Path) -> None:
    given_up = threading.Event()
    given_up.set()
    server = EmbeddedPostgres(data_dir)
    with pytest.raises(StartGivenUpError):
        server.start(given_up)
    server.stop()
    eventually_blocking(lambda: server_processes(data_dir) == [])


def test_stop_waits_for_the_server_after_a_further_start_that_was_given_up(data_dir: Path) -> None:
    given_up = threading.Event()
    server = EmbeddedPostgres(data_dir)
    server.start(given_up)
    given_up.set()
    with pytest.raises(StartGivenUpError):
        server.start(given_up)
    server.stop()
    assert server_processes(data_dir) == []


def test_nobody_is_let_in_over_a_network(data_dir: Path) -> None:
    """Not by the rules either, also in a cluster that an earlier version created."""
    server = EmbeddedPostgres(data_dir)
    kinds = "SELECT string_agg(DISTINCT type, ',') FROM pg_hba_file_rules"
    rules = data_dir / "postgres" / "data" / "pg_hba.conf"
    assert query(server.start(), kinds) == "local"
    server.stop()
    rules.write_text("local all all trust\nhost all all 0.0.0.0/0 trust\n")
    assert query(server.start(), kinds) == "local"
    assert stat.S_IMODE(rules.stat().st_mode) == 0o600
    server.stop()
    rules.unlink()
    assert query(server.start(), kinds) == "local"
    server.stop()


def test_last_user_stops_the_server(data_dir: Path, use_database: UseDatabase) -> None:
    first = use_database(data_dir)
    url = first.url()
    here = EmbeddedPostgres(data_dir)
    assert here.start() == url
    second = use_database(data_dir)
    assert second.url() == url
    pid = postmaster(data_dir)
    first.leave()
    here.stop()
    assert query(url, "SELECT 1") == 1
    assert postmaster(data_dir) == pid
    second.leave()
    assert server_processes(data_dir) == []


def test_many_users_start_at_once_on_a_fresh_directory(data_dir: Path, use_database: UseDatabase) -> None:
    users = [use_database(data_dir) for _ in range(6)]
    urls = {user.url() for user in users}
    assert len(urls) == 1
    assert query(urls.pop(), "SELECT 1") == 1
    assert server_log(data_dir).count("starting PostgreSQL") == 1
    for user in users:
        user.leave()
    assert server_processes(data_dir) == []


def test_users_that_come_while_others_go_find_a_server(data_dir: Path, use_database: UseDatabase) -> None:
    for _ in range(10):
        coming = use_database(data_dir)
        server = EmbeddedPostgres(data_dir)
        assert query(server.start(), "SELECT 1") == 1
        server.stop()
        assert query(coming.url(), "SELECT 1") == 1
        coming.leave()
    assert server_processes(data_dir) == []


@pytest.mark.parametrize("name", ["x" * 100, "a,b", "with space", "ünïcode €", "quote'\"%s%20?&#"])
def test_odd_paths_work(tmp_path: Path, name: str) -> None:
    data_dir = tmp_path / name
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    assert query(url, "SELECT 1") == 1
    socket_dir = Path(str(query(url, "SHOW unix_socket_directories")).strip('"').replace('""', '"'))
    assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    server.stop()
    assert server_processes(data_dir) == []
    if socket_dir != data_dir / "postgres":
        assert not socket_dir.exists()
        assert server.start() != url
        server.stop()


def test_socket_folder_of_another_user_is_not_used(tmp_path: Path) -> None:
    data_dir = tmp_path / "a,b"
    trap = tmp_path / "trap"
    trap.mkdir(mode=0o777)
    trap.chmod(0o777)
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "socket").write_text(str(trap))
    server = EmbeddedPostgres(data_dir)
    assert str(trap) not in server.start()
    server.stop()


def test_linked_directory_is_the_same_database(tmp_path: Path, data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    (tmp_path / "link").symlink_to(data_dir)
    other = EmbeddedPostgres(tmp_path / "link")
    assert other.start() == url
    other.stop()
    assert query(url, "SELECT 1") == 1
    server.stop()


def test_log_is_bounded_and_report_ends_when_the_server_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    reading, report = os.pipe()
    log = ServerLog(str(path), report)
    line = b"x" * 1023 + b"\n"
    before, after = [b"early\n"], [line] * (3 * LOG_BYTES // len(line))
    ready = b"LOG:  database system is ready to accept connections\n"
    log.copy(io.BytesIO(b"".join([*before, ready, *after])))
    assert log.ready
    with open(reading, "rb") as pipe:
        assert pipe.read() == b"early\n" + ready
    os.close(report)
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= LOG_BYTES
    assert path.read_bytes().endswith(line)
