"""Processes that the tests start, watch and kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatserver.providers import failures
from tests.kit.command import Chatserver, run
from tests.kit.process_table import server_processes, wait_for_end
from tests.process.embedded_database import DatabaseUser


@pytest.fixture
def use_database() -> Iterator[Callable[..., DatabaseUser]]:
    """Makes a `DatabaseUser`; what still runs at the end is killed."""
    users: list[DatabaseUser] = []

    def make(data_dir: Path, *, prefix: tuple[str, ...] = ()) -> DatabaseUser:
        users.append(DatabaseUser(data_dir, prefix=prefix))
        return users[-1]

    yield make
    for user in users:
        user.kill()


@pytest.fixture
def chatserver(tmp_path: Path) -> Chatserver:
    """Runs a command that must end well and be silent on standard error; returns what it printed."""

    def run_well(*argv: str, **variables: str) -> str:
        result = run(tmp_path, *argv, **variables)
        assert (result.returncode, result.stderr) == (0, ""), result
        return result.stdout

    return run_well


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data directory; no server may be left at the end of a test."""
    folder = tmp_path / "data"
    yield folder
    for pid in server_processes(folder):
        wait_for_end(pid)
