"""The embedded PostgreSQL where it cannot run, and as other users: it says why, and changes nothing."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from chatserver.errors import ConfigurationError
from chatserver.storage.postgres import embedded, programs
from chatserver.storage.postgres.embedded import EmbeddedPostgres
from tests.kit.process_table import parent, postmaster, wait_for_end
from tests.process.embedded_database import UseDatabase, query, remember, remembered


def refused(data_dir: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        EmbeddedPostgres(data_dir).start()
    message = caught.value.message
    assert "\n" not in message
    return message


def test_file_as_data_directory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert str(file) in refused(file)
    assert "Not a directory" in refused(file / "below")
    assert file.read_text() == "mine"


def test_cluster_of_another_major_version_is_left_alone(data_dir: Path) -> None:
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


def test_folder_that_is_no_cluster_is_left_alone(data_dir: Path) -> None:
    foreign = data_dir / "postgres" / "data" / "letter.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    assert "Directory not empty" in refused(data_dir)
    assert foreign.read_text() == "mine"
    assert not (data_dir / "postgres" / "data.new").exists()


def test_failed_start_leaves_no_lock(data_dir: Path) -> None:
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
def test_full_disk_is_reported(data_dir: Path, use_database: UseDatabase, size: str) -> None:
    data_dir.mkdir()
    user = use_database(data_dir, prefix=("unshare", "--mount", "sh", "-c", FULL_DISK, "sh", size, str(data_dir)))
    error = user.error()
    assert "No space left on device" in error
    assert "\n" not in error


# Runs a command where shared memory is scarce.
SMALL_SHM = """
set -e
mount -t tmpfs -o size="$1" none /dev/shm
shift
exec "$@"
"""


@pytest.mark.root
@pytest.mark.parametrize("size", ["4k", "64k", "1m"])
def test_small_shared_memory_is_named(data_dir: Path, use_database: UseDatabase, size: str) -> None:
    user = use_database(data_dir, prefix=("unshare", "--mount", "sh", "-c", SMALL_SHM, "sh", size))
    error = user.error()
    assert "/dev/shm" in error
    assert "No space left on device" in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (b"LOG: x\nFATAL:  the cause\nPANIC:  a consequence\nAborted\n", "the cause"),
        (b"FATAL:  the database system is starting up\nFATAL:  the cause\nDETAIL:  more\n", "the cause (more)"),
        (b"initdb: error: the cause\ninitdb: removing data\n", "the cause"),
        (b"child process was terminated by signal 7: Bus error\ninitdb: removing data\n", "Bus error: /dev/shm"),
        (b"", "no reason given"),
    ],
)
def test_first_error_of_a_program_is_its_reason(output: bytes, told: str) -> None:
    assert told in programs.reason(output)


# Runs a command where /etc/passwd is another file.
OTHER_ACCOUNTS = """
set -e
mount --bind "$1" /etc/passwd
shift
exec "$@"
"""


@pytest.mark.root
def test_root_with_hardly_any_account_runs_the_server(
    data_dir: Path, tmp_path: Path, use_database: UseDatabase
) -> None:
    accounts = tmp_path / "passwd"
    accounts.write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    user = use_database(data_dir, prefix=("unshare", "--mount", "sh", "-c", OTHER_ACCOUNTS, "sh", str(accounts)))
    assert query(user.url(), "SELECT 1") == 1
    user.leave()


def as_user(uid: int) -> tuple[str, ...]:
    """A prefix that runs root's command as another user, without root's rights."""
    return ("unshare", "--user", f"--map-user={uid}", f"--map-group={uid}")


@pytest.mark.root
@pytest.mark.parametrize("uid", [pwd.getpwnam("daemon").pw_uid, 54321], ids=["account", "no account"])
def test_unprivileged_user_runs_the_server(data_dir: Path, use_database: UseDatabase, uid: int) -> None:
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
def test_unwritable_directory_is_refused(tmp_path: Path, use_database: UseDatabase) -> None:
    parent_folder = tmp_path / "read-only"
    parent_folder.mkdir(mode=0o500)
    user = use_database(parent_folder / "data", prefix=as_user(54321))
    error = user.error()
    assert "Permission denied" in error
    assert "\n" not in error
    assert list(parent_folder.iterdir()) == []


@pytest.mark.root
def test_directory_of_another_user_is_refused(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    os.chown(data_dir / "postgres", 12345, 12345)
    assert "12345" in refused(data_dir)
