"""The embedded PostgreSQL beside a cleaner of /tmp, which takes away what it takes for old."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from chatserver.storage.postgres.embedded import EmbeddedPostgres
from tests.kit.process_table import postmaster, server_processes
from tests.kit.server_process import ServerProcess, started
from tests.kit.waiting import eventually
from tests.process.embedded_database import UseDatabase, query, remember, remembered, server_log, wait_for_answer

BACK_WITHIN_SECONDS = 5.0
SOCKET = ".s.PGSQL.5432"


@pytest.fixture
def long_dir(tmp_path: Path) -> Path:
    """A data directory whose path is too long for a socket."""
    return tmp_path / ("x" * 100)


def socket_folder(data_dir: Path) -> Path:
    return Path((data_dir / "postgres" / "socket").read_text())


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def remove_socket(folder: Path) -> None:
    (folder / SOCKET).unlink()


def remove_files(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


cleaned = pytest.mark.parametrize("clean", [remove_folder, remove_socket, remove_files])


@cleaned
def test_database_is_back_at_the_same_address_after_a_cleaner_took_its_socket(
    long_dir: Path, use_database: UseDatabase, clean: Callable[[Path], None]
) -> None:
    user = use_database(long_dir)
    url = user.url()
    remember(url)
    clean(socket_folder(long_dir))
    wait_for_answer(url, BACK_WITHIN_SECONDS)
    assert remembered(url)
    joining = use_database(long_dir)
    assert joining.url() == url
    assert "its socket was gone" in server_log(long_dir)
    joining.leave()
    user.leave()
    assert server_processes(long_dir) == []


def test_socket_in_the_data_directory_is_back_too(data_dir: Path, use_database: UseDatabase) -> None:
    user = use_database(data_dir)
    url = user.url()
    remove_socket(data_dir / "postgres")
    wait_for_answer(url, BACK_WITHIN_SECONDS)
    user.leave()


def test_lost_lock_file_of_the_socket_does_no_harm(long_dir: Path) -> None:
    server = EmbeddedPostgres(long_dir)
    url = server.start()
    pid = postmaster(long_dir)
    (socket_folder(long_dir) / f"{SOCKET}.lock").unlink()
    assert query(url, "SELECT pg_sleep(1.5), 1") is not None
    assert postmaster(long_dir) == pid
    server.stop()
    assert server_processes(long_dir) == []
    server.start()
    server.stop()


def test_folder_that_somebody_else_has_taken_is_not_used(long_dir: Path, use_database: UseDatabase) -> None:
    """The server goes on for the clients that it has, and nobody connects through the other folder."""
    user = use_database(long_dir)
    url = user.url()
    folder = socket_folder(long_dir)
    with psycopg.connect(url, autocommit=True) as connection:
        shutil.rmtree(folder)
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        try:
            connection.execute("SELECT pg_sleep(2)")
            assert list(folder.iterdir()) == []
        finally:
            folder.rmdir()
        with contextlib.suppress(psycopg.OperationalError):  # it is started again when the name is free
            connection.execute("SELECT pg_sleep(2)")
    wait_for_answer(url, BACK_WITHIN_SECONDS)
    user.leave()


@cleaned
async def test_clients_are_served_again_after_a_cleaner_took_the_socket(
    long_dir: Path, clean: Callable[[Path], None]
) -> None:
    async with started("--data-dir", str(long_dir)) as server:
        conversation = await server.conversation()
        pid = postmaster(long_dir)
        clean(socket_folder(long_dir))
        await eventually(lambda: is_another(long_dir, pid), within_seconds=BACK_WITHIN_SECONDS)
        await eventually(lambda: serves(server, conversation), within_seconds=BACK_WITHIN_SECONDS)
        assert (await server.request("GET", "/readyz")).status == 200


def is_another(data_dir: Path, pid: int) -> bool:
    try:
        return postmaster(data_dir) != pid
    except (OSError, IndexError):
        return False


async def serves(server: ServerProcess, conversation: str) -> bool:
    return (await server.request("GET", f"/api/conversations/{conversation}/messages")).status == 200
