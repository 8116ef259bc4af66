"""Several server processes on one database, which the tests of a module share: each start takes a second."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import psycopg

from tests.kit.http_client import Client
from tests.kit.process_table import ROOT
from tests.kit.server_process import READY

# The answer to it takes some minutes.
LONG_QUESTION = "x " * 40_000


class Fleet:
    """`ports` of the processes. `url` is that of their database."""

    def __init__(self, url: str, ports: list[int]) -> None:
        self.url = url
        self.ports = ports

    def clients(self) -> list[Client]:
        """A client of each process, to be closed by `closing`."""
        return [Client(port) for port in self.ports]

    def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """What a query of the test finds in the database."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode(), parameters).fetchall()


@contextmanager
def fleet(url: str, processes: int, **environment: str) -> Iterator[Fleet]:
    """Start so many processes at once; at the end they are killed."""
    with tempfile.TemporaryFile() as log:
        started = [_launch(url, log, environment) for _ in range(processes)]
        try:
            yield Fleet(url, [_port(process) for process in started])
        finally:
            for process in started:
                process.kill()
                process.wait()
                assert process.stdout is not None
                process.stdout.close()


def _launch(url: str, log: IO[bytes], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "chatserver", "serve", "--port", "0", "--database-url", url],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )


def _port(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    assert line.startswith(READY), line
    return int(line.removeprefix(READY))
