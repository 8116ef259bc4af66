"""Processes that use the embedded database, and what they ask of it."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.kit.process_table import ROOT
from tests.kit.waiting import eventually_blocking

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


UseDatabase = Callable[..., DatabaseUser]


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
