"""The embedded PostgreSQL with real processes: shared, killed in every way, and started where it cannot run."""

from __future__ import annotations

import io
import os
import pwd
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from chatserver.errors import ConfigurationError
from chatserver.storage.postgres import embedded
from chatserver.storage.postgres.embedded import EmbeddedPostgres
from chatserver.storage.postgres.supervisor import LOG_BYTES, ServerLog
from tests.kit.process_table import kill, parent, postmaster, programs_with_argument, server_processes, wait_for_end
from tests.kit.waiting import eventually_blocking
from tests.process.conftest import DatabaseUser

UseDatabase = Callable[..., DatabaseUser]


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data directory; no server may be left at the end of a test."""
    folder = tmp_path / "data"
    yield folder
    for pid in server_processes(folder):
        wait_for_end(pid)


def query(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def remember(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('word')")


def remembered(url: str) -> bool:
    return query(url, "SELECT word FROM kept") == "word"


def wait_for_answer(url: str, seconds: float = 20.0) -> None:
    def answers() -> bool:
        try:
            query(url, "SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    eventually_blocking(answers, within_seconds=seconds)


def server_log(data_dir: Path) -> str:
    return (data_dir / "postgres" / "server.log").read_text()


# --- in order ---------------------------------------------------------------------------------------------


def test_a_fresh_directory_becomes_a_database_that_only_its_owner_reaches(data_dir: Path) -> None:
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


def test_start_after_stop_finds_the_data_and_both_may_be_repeated(data_dir: Path) -> None:
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


def test_the_last_user_stops_the_server(data_dir: Path, use_database: UseDatabase) -> None:
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


def test_many_start_at_once_on_a_fresh_directory(data_dir: Path, use_database: UseDatabase) -> None:
    users = [use_database(data_dir) for _ in range(6)]
    urls = {user.url() for user in users}
    assert len(urls) == 1
    assert query(urls.pop(), "SELECT 1") == 1
    assert server_log(data_dir).count("starting PostgreSQL") == 1
    for user in users:
        user.leave()
    assert server_processes(data_dir) == []


def test_users_that_come_while_others_go_always_find_a_server(data_dir: Path, use_database: UseDatabase) -> None:
    for _ in range(10):
        coming = use_database(data_dir)
        server = EmbeddedPostgres(data_dir)
        assert query(server.start(), "SELECT 1") == 1
        server.stop()
        assert query(coming.url(), "SELECT 1") == 1
        coming.leave()
    assert server_processes(data_dir) == []


# --- signals and kill -9 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_our_group_does_not_reach_the_server(
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


def test_killing_the_last_user_stops_the_server_in_order(data_dir: Path, use_database: UseDatabase) -> None:
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


def test_a_killed_server_is_started_again(data_dir: Path, use_database: UseDatabase) -> None:
    url = use_database(data_dir).url()
    remember(url)
    for _ in range(2):
        pid = postmaster(data_dir)
        kill(pid)
        wait_for_end(pid)
        wait_for_answer(url)
        assert remembered(url)
        assert postmaster(data_dir) != pid


def test_a_server_stopped_by_hand_comes_back_with_the_next_start(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    pid = postmaster(data_dir)
    supervisor = parent(pid)
    kill(pid, number=signal.SIGINT)
    wait_for_end(pid, supervisor)
    assert server.start() == url
    assert query(url, "SELECT 1") == 1
    server.stop()


def test_a_killed_supervisor_takes_the_server_with_it(data_dir: Path, use_database: UseDatabase) -> None:
    first = use_database(data_dir)
    url = first.url()
    remember(url)
    pid = postmaster(data_dir)
    kill(parent(pid))
    wait_for_end(pid)
    second = use_database(data_dir)
    assert second.url() == url
    assert remembered(url)


def test_everything_killed_at_once(data_dir: Path, use_database: UseDatabase) -> None:
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


def test_orphans_of_a_killed_server_are_waited_for(data_dir: Path, use_database: UseDatabase) -> None:
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


def test_killed_while_the_cluster_is_made(data_dir: Path, use_database: UseDatabase) -> None:
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


def test_killed_while_the_server_starts(data_dir: Path, use_database: UseDatabase) -> None:
    server = EmbeddedPostgres(data_dir)
    server.start()
    server.stop()
    for _ in range(5):
        user = use_database(data_dir)
        while not embedded._is_supervised((data_dir / "postgres").resolve()):
            assert user.process.poll() is None
        user.kill()
    assert query(use_database(data_dir).url(), "SELECT 1") == 1


def test_the_server_holds_no_lock_of_ours(data_dir: Path) -> None:
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


# --- paths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 100, "a,b", "with space", "ünïcode €", "quote'\"%s%20?&#"])
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
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


def test_a_socket_folder_of_others_is_not_used(tmp_path: Path) -> None:
    data_dir = tmp_path / "a,b"
    trap = tmp_path / "trap"
    trap.mkdir(mode=0o777)
    trap.chmod(0o777)
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "socket").write_text(str(trap))
    server = EmbeddedPostgres(data_dir)
    assert str(trap) not in server.start()
    server.stop()


def test_a_linked_directory_is_the_same_database(tmp_path: Path, data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    (tmp_path / "link").symlink_to(data_dir)
    other = EmbeddedPostgres(tmp_path / "link")
    assert other.start() == url
    other.stop()
    assert query(url, "SELECT 1") == 1
    server.stop()


# --- where it cannot run ----------------------------------------------------------------------------------


def refused(data_dir: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        EmbeddedPostgres(data_dir).start()
    message = caught.value.message
    assert "\n" not in message
    return message


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert str(file) in refused(file)
    assert "Not a directory" in refused(file / "below")
    assert file.read_text() == "mine"


def test_another_major_version_is_left_alone(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    server.start()
    server.stop()
    version = data_dir / "postgres" / "data" / "PG_VERSION"
    version.write_text("17\n")
    message = refused(data_dir)
    assert "initialized by PostgreSQL version 17" in message
    version.write_text("18\n")
    assert query(server.start(), "SELECT 1") == 1
    server.stop()


def test_what_is_no_cluster_is_left_alone(data_dir: Path) -> None:
    foreign = data_dir / "postgres" / "data" / "letter.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    assert "Directory not empty" in refused(data_dir)
    assert foreign.read_text() == "mine"
    assert not (data_dir / "postgres" / "data.new").exists()


def test_a_failed_start_leaves_nothing_held(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    server.start()
    server.stop()
    settings = data_dir / "postgres" / "data" / "postgresql.conf"
    good = settings.read_text()
    settings.write_text(good + "shared_buffers = nonsense\n")
    assert "contains errors" in refused(data_dir)
    assert not embedded._is_supervised(data_dir / "postgres")
    settings.write_text(good)
    server.start()
    server.stop()


# Mounts a small disk, fills it, and runs a command with it, in namespaces of its own.
FULL_DISK = """
set -e
mount -t tmpfs -o size="$1" none "$2"
shift 2
exec "$@"
"""


@pytest.mark.root
@pytest.mark.parametrize("size", ["1m", "30m"])
def test_a_full_disk(data_dir: Path, use_database: UseDatabase, size: str) -> None:
    data_dir.mkdir()
    user = use_database(data_dir, prefix=("unshare", "--mount", "sh", "-c", FULL_DISK, "sh", size, str(data_dir)))
    error = user.error()
    assert "No space left on device" in error
    assert "\n" not in error


# Runs a command where /etc/passwd is another file.
OTHER_ACCOUNTS = """
set -e
mount --bind "$1" /etc/passwd
shift
exec "$@"
"""


@pytest.mark.root
def test_root_on_a_machine_with_hardly_any_account(data_dir: Path, tmp_path: Path, use_database: UseDatabase) -> None:
    accounts = tmp_path / "passwd"
    accounts.write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    user = use_database(data_dir, prefix=("unshare", "--mount", "sh", "-c", OTHER_ACCOUNTS, "sh", str(accounts)))
    assert query(user.url(), "SELECT 1") == 1
    user.leave()


def as_user(uid: int) -> tuple[str, ...]:
    """What makes root's command look like that of another user, and takes root's rights from it."""
    return ("unshare", "--user", f"--map-user={uid}", f"--map-group={uid}")


@pytest.mark.root
@pytest.mark.parametrize("uid", [pwd.getpwnam("daemon").pw_uid, 54321], ids=["account", "no account"])
def test_an_unprivileged_user(data_dir: Path, use_database: UseDatabase, uid: int) -> None:
    user = use_database(data_dir, prefix=as_user(uid))
    remember(user.url())
    pid = postmaster(data_dir)
    supervisor = parent(pid)
    user.kill()
    wait_for_end(pid, supervisor)
    user = use_database(data_dir, prefix=as_user(uid))
    assert remembered(user.url())
    user.leave()


@pytest.mark.root
def test_a_directory_that_is_not_writable(tmp_path: Path, use_database: UseDatabase) -> None:
    parent_folder = tmp_path / "read-only"
    parent_folder.mkdir(mode=0o500)
    user = use_database(parent_folder / "data", prefix=as_user(54321))
    error = user.error()
    assert "Permission denied" in error
    assert "\n" not in error
    assert list(parent_folder.iterdir()) == []


@pytest.mark.root
def test_a_directory_of_another_user(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    os.chown(data_dir / "postgres", 12345, 12345)
    assert "12345" in refused(data_dir)


# --- the log ----------------------------------------------------------------------------------------------


def test_the_log_has_a_bound_and_the_report_ends_when_the_server_is_ready(tmp_path: Path) -> None:
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
