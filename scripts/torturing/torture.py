"""One run: servers, model and clients up; faults; settling; checks."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from scripts.torturing import report
from scripts.torturing.checks import check
from scripts.torturing.database import Embedded, Outer, TortureDatabase
from scripts.torturing.faults import Faults
from scripts.torturing.history import History
from scripts.torturing.markers import Markers
from scripts.torturing.model import Model
from scripts.torturing.operations import Operations
from scripts.torturing.options import WORK, Options
from scripts.torturing.servers import Server
from scripts.torturing.settling import Settling
from scripts.torturing.world import World

PROGRESS_SECONDS = 5.0
# So long clients may take to end what they have begun, when the time is over.
FINISH_SECONDS = 150.0
# Between two operations of a client.
PAUSE_SECONDS = 0.6


class Torture:
    def __init__(self, options: Options, folder: Path) -> None:
        """`folder` gets the database and the servers' logs."""
        self._options = options
        self._folder = folder
        self.history = History()
        self.logs: list[Path] = []

    async def run(self) -> History:
        """The whole history, checked. Whatever happens, no process is left."""
        words = Markers()
        database = self._database()
        servers: list[Server] = []
        async with Model(self._options, self.history, words) as model:
            try:
                await database.start()
                servers += [
                    Server(number, self._options, database, model, self._folder)
                    for number in range(self._options.processes)
                ]
                self.logs = [server.log for server in servers]
                await servers[0].start()  # it makes the schema
                async with asyncio.TaskGroup() as tasks:
                    for server in servers[1:]:
                        tasks.create_task(server.start())
                self.history.restart_clock()
                world = World(self._options, self.history, servers, words)
                await self._torture(world, database, model)
            finally:
                await asyncio.gather(*(server.kill() for server in servers), return_exceptions=True)
                await database.stop()
        report.scandals(self.logs, self.history)
        return self.history

    def _database(self) -> TortureDatabase:
        if self._options.database == "outer":
            return Outer(self._folder, self._options.processes)
        return Embedded(self._folder)

    async def _torture(self, world: World, database: TortureDatabase, model: Model) -> None:
        operations = Operations(world)
        showing = asyncio.create_task(self._show_progress())
        try:
            faults = asyncio.create_task(Faults(self._options, world.servers, database, model, self.history).run())
            clients = [asyncio.create_task(self._client(number, operations)) for number in range(self._options.clients)]
            try:
                await faults  # they end before the clients do, whole again
                _, late = await asyncio.wait(clients, timeout=max(0, self._left()) + FINISH_SECONDS)
                for client in late:
                    self.history.violate("stuck client", str(client.get_stack()))
            finally:
                for task in (faults, *clients):
                    task.cancel()
                results = await asyncio.gather(faults, *clients, return_exceptions=True)
            for result in results:
                if isinstance(result, Exception):
                    raise result
            final = await Settling(world, operations.following, database, model).settle()
        finally:
            showing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await showing
        check(self.history, final, self._options)

    def _left(self) -> float:
        return self._options.seconds - self.history.now()

    async def _client(self, number: int, operations: Operations) -> None:
        """One operation after the other; each has its own randomness, so the plan does not depend on timing."""
        step = 0
        while self._left() > 0:
            random = self._options.random("client", number, step)
            kind = random.choices(self._options.work, [WORK[name] for name in self._options.work])[0]
            pause = random.uniform(0, PAUSE_SECONDS)
            await operations.do(kind, random)
            await asyncio.sleep(pause)
            step += 1

    async def _show_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            print(report.progress(self.history, self._options), flush=True)
