"""The PostgreSQL of a run: that of the servers' data directory, or one of its own behind a proxy for each process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

import psycopg

from chatserver.storage.postgres import cluster, programs
from chatserver.storage.postgres.embedded import EmbeddedPostgres
from scripts.benchmarks.machine import processes_in
from scripts.torturing.proxy import DatabaseProxy

START_SECONDS = 60.0
POLL_SECONDS = 0.05


class TortureDatabase(ABC):
    """`url` is a direct address, for the checks."""

    url: str
    _data: Path

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    @abstractmethod
    def arguments(self, process: int, /) -> list[str]:
        """What a server process is told of it on its command line."""

    @abstractmethod
    async def restart(self, number: signal.Signals) -> None:
        """End the postmaster by that signal, have it started again, and wait until it answers."""

    def proxies(self) -> list[DatabaseProxy]:
        """One for each process; none where the processes connect directly."""
        return []

    def pids(self) -> list[int]:
        """The ids of its processes."""
        return processes_in(self._data)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the database: SIGSTOP hangs it, SIGCONT wakes it."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _postmaster(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])

    def _end_postmaster(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, ValueError):
            os.kill(self._postmaster(), number)

    async def answers(self) -> None:
        """Wait until a query is answered. Raises TimeoutError."""
        deadline = time.monotonic() + START_SECONDS
        while not await asyncio.to_thread(self._answers_now):
            if time.monotonic() > deadline:
                raise TimeoutError("the database did not come back")
            await asyncio.sleep(POLL_SECONDS)

    def _answers_now(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=5, autocommit=True) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True


class Embedded(TortureDatabase):
    """The embedded PostgreSQL. The run is one more user of it, so it lives as long as the run."""

    def __init__(self, folder: Path) -> None:
        self._data_dir = folder / "data"
        self._user = EmbeddedPostgres(self._data_dir)

    async def start(self) -> None:
        self.url = await asyncio.to_thread(self._user.start)
        self._data = self._data_dir / "postgres" / "data"

    async def stop(self) -> None:
        self.send(signal.SIGCONT)
        await asyncio.to_thread(self._user.stop)

    def arguments(self, _: int, /) -> list[str]:
        return ["--data-dir", str(self._data_dir)]

    async def restart(self, number: signal.Signals) -> None:
        before = self._postmaster()
        self._end_postmaster(number)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:  # the supervisor starts it again
            with contextlib.suppress(FileNotFoundError, ValueError):
                if self._postmaster() != before:
                    break
            await asyncio.sleep(POLL_SECONDS)
        await self.answers()


class Outer(TortureDatabase):
    """A PostgreSQL on a TCP port, as an operator would have it, and a proxy to it for each process."""

    def __init__(self, folder: Path, processes: int) -> None:
        self._folder = folder
        self._data = folder / "outer"
        self._count = processes
        self._proxies: list[DatabaseProxy] = []
        self._server: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        await asyncio.to_thread(self._create)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = int(probe.getsockname()[1])
        self.url = self._url(self._port)
        self._launch()
        await self.answers()
        for _ in range(self._count):
            self._proxies.append(await DatabaseProxy(self._port).__aenter__())

    def _create(self) -> None:
        command = [*programs.command("initdb"), "--pgdata", str(self._data), "--username", cluster.USER]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions", "--no-sync"]
        command += ["--set=max_connections=200", "--set=unix_socket_directories=", "--set=log_min_messages=log"]
        result = subprocess.run(command, capture_output=True, env=programs.environment(), check=False)
        if result.returncode != 0:
            raise RuntimeError(programs.reason(result.stdout + result.stderr))

    def _launch(self) -> None:
        command = [*programs.command("postgres", ends_with_parent=True), "-D", str(self._data), "-p", str(self._port)]
        with (self._folder / "postgres.log").open("ab") as log:
            self._server = subprocess.Popen(
                [*command, "-h", "127.0.0.1"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=programs.environment(),
                start_new_session=True,
            )

    async def stop(self) -> None:
        self.send(signal.SIGCONT)
        for proxy in self._proxies:
            await proxy.__aexit__(None, None, None)
        if self._server is not None:
            self._end_postmaster(signal.SIGQUIT)
            await asyncio.to_thread(self._wait)

    def _wait(self) -> None:
        """Wait for the end of the server and of what a killed one left behind."""
        assert self._server is not None
        try:
            self._server.wait(30)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        deadline = time.monotonic() + START_SECONDS
        while processes_in(self._data) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def arguments(self, process: int, /) -> list[str]:
        return ["--database-url", self._url(self._proxies[process].port)]

    def _url(self, port: int) -> str:
        return f"postgresql://{cluster.USER}@127.0.0.1:{port}/postgres"

    def proxies(self) -> list[DatabaseProxy]:
        return self._proxies

    async def restart(self, number: signal.Signals) -> None:
        self._end_postmaster(number)
        await asyncio.to_thread(self._wait)
        self._launch()
        await self.answers()
