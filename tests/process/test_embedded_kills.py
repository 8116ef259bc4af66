"""The embedded PostgreSQL under signals and sudden deaths, of its users and of its own processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psycopg
import pytest

from chatserver.errors import ConfigurationError
from chatserver.storage.postgres import embedded
from chatserver.storage.postgres.embedded import EmbeddedPostgres
from tests.kit.process_table import kill, parent, postmaster, programs_with_argument, server_processes, wait_for_end
from tests.kit.waiting import eventually_blocking
from tests.process.embedded_database import UseDatabase, query, remember, remembered, server_log, wait_for_answer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_to_our_group_does_not_reach_the_server(
    data_dir: Path, use_database: UseDatabase, number: signal.Signals
) -> None:
    user = use_database(data_dir, prefix=(sys.executable, "-c", SIGNAL_PROOF, number.name))
    url = user.url()
    os.killpg(user.process.pid, number)
    assert query(url, "SELECT 1") == 1
    user.leave()
    assert "not properly shut down" not in server_log(data_dir)


# Runs a command that ignores a signal.
SIGNAL_PROOF = """
import os, signal, sys
signal.signal(signal.Signals[sys.argv[1]], signal.SIG_IGN)
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_server_stops_in_order_when_its_last_user_is_killed(data_dir: Path, use_database: UseDatabase) -> None:
    first, second = use_database(data_dir), use_database(data_dir)
    url = first.url()
    second.url()
    remember(url)
    pid = postmaster(data_dir)
    supervisor = parent(pid)
    first.kill()
    assert query(url, "SELECT 1") == 1
    second.kill()
    wait_for_end(pid, supervisor)
    assert "database system is shut down" in server_log(data_dir)
    assert remembered(use_database(data_dir).url())
    assert "not properly shut down" not in server_log(data_dir)


def test_killed_server_is_started_again(data_dir: Path, use_database: UseDatabase) -> None:
    url = use_database(data_dir).url()
    remember(url)
    for _ in range(2):
        pid = postmaster(data_dir)
        kill(pid)
        wait_for_end(pid)
        wait_for_answer(url)
        assert remembered(url)
        assert postmaster(data_dir) != pid


def test_server_stopped_by_hand_starts_with_the_next_user(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    pid = postmaster(data_dir)
    supervisor = parent(pid)
    kill(pid, number=signal.SIGINT)
    wait_for_end(pid, supervisor)
    assert server.start() == url
    assert query(url, "SELECT 1") == 1
    server.stop()


def test_server_that_could_not_run_for_a_while_is_back_at_the_same_address(tmp_path: Path) -> None:
    """Its clients know no other one."""
    data_dir = tmp_path / ("x" * 100)  # its path is too long for a socket
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    remember(url)
    settings = data_dir / "postgres" / "data" / "postgresql.conf"
    good = settings.read_text()
    settings.write_text(good + "shared_buffers = nonsense\n")
    pid = postmaster(data_dir)
    supervisor = parent(pid)
    kill(pid)
    wait_for_end(pid, supervisor)
    with pytest.raises(ConfigurationError, match="contains errors"):
        server.start()
    settings.write_text(good)
    assert server.start() == url
    assert remembered(url)
    server.stop()
    assert not (data_dir / "postgres" / "socket").exists()


def test_server_dies_with_its_killed_supervisor(data_dir: Path, use_database: UseDatabase) -> None:
    first = use_database(data_dir)
    url = first.url()
    remember(url)
    pid = postmaster(data_dir)
    kill(parent(pid))
    wait_for_end(pid)
    second = use_database(data_dir)
    assert second.url() == url
    assert remembered(url)


def test_database_survives_a_kill_of_everything(data_dir: Path, use_database: UseDatabase) -> None:
    user = use_database(data_dir)
    remember(user.url())
    pid, pids = postmaster(data_dir), server_processes(data_dir)
    kill(parent(pid), *pids)
    user.kill()
    wait_for_end(*pids)
    # By then the number of the server may be that of any process, such as this one.
    for file in (data_dir / "postgres" / "data" / "postmaster.pid", data_dir / "postgres" / ".s.PGSQL.5432.lock"):
        file.write_text(file.read_text().replace(str(pid), str(os.getpid()), 1))
    assert remembered(use_database(data_dir).url())


def test_start_waits_for_orphans_of_a_killed_server(data_dir: Path, use_database: UseDatabase) -> None:
    user = use_database(data_dir)
    url = user.url()
    remember(url)
    pid = postmaster(data_dir)
    orphan = next(other for other in server_processes(data_dir) if other != pid)
    kill(orphan, number=signal.SIGSTOP)  # it cannot notice that the server is gone
    kill(pid)
    wait_for_end(pid)
    unanswered_until = time.monotonic() + 1
    while time.monotonic() < unanswered_until:
        with pytest.raises(psycopg.OperationalError):
            query(url, "SELECT 1")
        time.sleep(0.05)
    kill(orphan, number=signal.SIGCONT)
    wait_for_answer(url)
    assert remembered(url)


def test_kill_while_the_cluster_is_made_leaves_no_half_cluster(data_dir: Path, use_database: UseDatabase) -> None:
    first = use_database(data_dir)
    unfinished = data_dir / "postgres" / "data.new"
    eventually_blocking((unfinished / "base").exists)
    (initdb,) = programs_with_argument(str(unfinished))
    kill(initdb, number=signal.SIGSTOP)
    first.kill()
    second = use_database(data_dir)
    assert not second.answers_within(1), "a second initdb runs beside the first"
    kill(initdb, number=signal.SIGCONT)
    assert query(second.url(), "SELECT 1") == 1
    assert not unfinished.exists()


def test_kill_while_the_server_starts_leaves_a_usable_database(data_dir: Path, use_database: UseDatabase) -> None:
    server = EmbeddedPostgres(data_dir)
    server.start()
    server.stop()
    for _ in range(5):
        user = use_database(data_dir)
        while not embedded._is_supervised((data_dir / "postgres").resolve()):
            assert user.process.poll() is None
        user.kill()
    assert query(use_database(data_dir).url(), "SELECT 1") == 1


def test_server_holds_no_lock_of_ours(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    server.start()
    try:
        pid = postmaster(data_dir)
        locks = {"users.lock", "start.lock", "supervisor.lock"}
        assert {file.name for file in open_files(parent(pid))} & locks == {"users.lock", "supervisor.lock"}
        assert {file.name for file in open_files(pid)} & locks == set()
    finally:
        server.stop()


def open_files(pid: int) -> list[Path]:
    return [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()]
