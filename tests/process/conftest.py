"""Processes that the tests start, watch and kill."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Uses the embedded database of a data directory until its standard input ends.
USER_PROGRAM = """
import sys
from pathlib import Path
from chatserver.errors import ConfigurationError
from chatserver.storage.postgres.embedded import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]))
try:
    url = server.start()
except ConfigurationError as error:
    sys.exit(error.message)
print(url, flush=True)
sys.stdin.read()
server.stop()
"""


class DatabaseUser:
    """A process that uses the embedded database of `data_dir`; `prefix` is put before its command."""

    def __init__(self, data_dir: Path, *, prefix: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", USER_PROGRAM, str(data_dir)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def url(self) -> str:
        """Wait until the database answers."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, self.error()
        return line

    def answers_within(self, seconds: float) -> bool:
        assert self.process.stdout is not None
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def error(self) -> str:
        """Wait for the end and return what was said on standard error."""
        return self.process.communicate(timeout=60)[1].strip()

    def leave(self) -> None:
        """End in order: return when `EmbeddedPostgres.stop` has."""
        output, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, output + errors

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


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


def server_processes(data_dir: Path) -> list[int]:
    """All processes of the embedded server: they work in its folder."""
    data = data_dir.resolve() / "postgres" / "data"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == data:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def programs_with_argument(argument: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if argument.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for_end(*pids: int, seconds: float = 20.0) -> None:
    """Wait until none of the processes runs, whosever children they are."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([descriptor], [], [], seconds)[0], f"process {pid} still runs after {seconds} s"
        finally:
            os.close(descriptor)


def kill(*pids: int, number: signal.Signals = signal.SIGKILL) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # such as a server's helper, which ends with the server
            os.kill(pid, number)
