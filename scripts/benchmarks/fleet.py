"""Several server processes on one PostgreSQL, each of which can be killed, frozen, cut off and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from scripts.benchmarks import machine, servers
from scripts.torturing.database import Outer


class Member:
    """One of the processes. Its port changes when it is started again. `up`: clients are sent to it."""

    def __init__(self, number: int, database_url: str, environment: Mapping[str, str], folder: Path) -> None:
        self.up = False
        self._starting = (f"p{number}", [*servers.COMMAND, "--database-url", database_url], folder)
        self._environment = environment
        self._running = contextlib.ExitStack()
        self._server: servers.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.port

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    async def start(self) -> None:
        """Start it, and wait until it accepts requests."""
        starting = servers.start(*self._starting, environment=self._environment, core=None)
        self._server = await asyncio.to_thread(self._running.enter_context, starting)
        self.up = True

    async def stop(self) -> None:
        """SIGTERM; returns when it has ended. Clients are sent elsewhere from now on."""
        self.up = False
        await asyncio.to_thread(self._running.close)

    async def kill(self) -> None:
        """End it without a word."""
        self.up = False
        self.send(signal.SIGKILL)
        await asyncio.to_thread(self._running.close)

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Fleet:
    """The processes, and their database: each reaches it through a proxy of its own, or all directly."""

    def __init__(self, members: list[Member], database: Outer) -> None:
        self.members = members
        self.database = database

    def ports(self) -> list[int]:
        """Where clients are sent now."""
        return [member.port for member in self.members if member.up]

    def cpu_seconds(self) -> tuple[float, float, float]:
        """How long the processes, the database and the load have run on a core so far."""
        pids = ([member.pid for member in self.members], self.database.pids(), [os.getpid()])
        of_servers, of_database, of_load = map(machine.cpu_seconds, pids)
        return of_servers, of_database, of_load


@asynccontextmanager
async def fleet(
    processes: int, *, proxies: bool = False, providers: Mapping[str, object], **settings: object
) -> AsyncIterator[Fleet]:
    """So many processes on a fresh PostgreSQL, all on any core; `settings` as in the configuration file.

    `proxies`: each can be cut off from the database; what passes costs the load's process time.
    """
    with tempfile.TemporaryDirectory(prefix="chatserver-bench-") as name:
        folder = Path(name)
        database = Outer(folder, processes if proxies else 0)
        await database.start()
        members: list[Member] = []
        try:
            for number in range(processes):
                url = database.arguments(number)[-1] if proxies else database.url
                members.append(Member(number, url, servers.environment(providers, settings), folder))
            await members[0].start()  # it migrates the database
            await asyncio.gather(*(member.start() for member in members[1:]))
            yield Fleet(members, database)
        finally:
            await asyncio.gather(*(member.stop() for member in members))
            await database.stop()
