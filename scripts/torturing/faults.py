"""The plan of faults, drawn from the seed, and what carries it out."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random

from scripts.torturing.database import TortureDatabase
from scripts.torturing.history import Fault, History
from scripts.torturing.model import Model
from scripts.torturing.options import FAULTS, Options
from scripts.torturing.servers import Server, ServerError

# Faults begin after this time, and the mean time between two is as below.
FIRST_SECONDS = 2.0
BETWEEN_SECONDS = 2.5
# Such a share of all faults strikes when an answer is about to be stored. Few would by chance: that takes milliseconds.
AIMED = 0.7
# So long they wait for one, and then strike all the same.
AIM_SECONDS = 4.0
# Another process takes an answer over only if it has readers of it.
TAKEN_OVER = frozenset({"freeze", "partition"})


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """`process` is not used by faults of the database; `manner` is one of two ways of the kind.

    One that is `aimed` waits until the model has said the last word of an answer, and strikes the process that
    generates it. If there is none in time, it strikes `process`.
    """

    at: float
    kind: str
    process: int
    lasts: float
    manner: bool
    aimed: bool


def plan(options: Options) -> list[PlannedFault]:
    """All faults of a run, in the order of time."""
    if not options.faults:
        return []
    random = options.random("faults")
    faults = []
    at = FIRST_SECONDS
    weights = [FAULTS[kind] for kind in options.faults]
    while at < options.seconds - 1:
        kind = random.choices(options.faults, weights)[0]
        process = random.randrange(options.processes)
        manner = random.random() < 0.5
        lasts = _lasts(random, kind, options.lease_seconds, manner)
        faults.append(PlannedFault(at, kind, process, lasts, manner, aimed=random.random() < AIMED))
        at += random.uniform(0.3, 2 * BETWEEN_SECONDS - 0.3)
    return faults


def _lasts(random: Random, kind: str, lease_seconds: float, manner: bool) -> float:
    if kind == "freeze":  # shorter or longer than the lease
        return random.uniform(0.2, 0.8) * lease_seconds if manner else random.uniform(1.3, 2.5) * lease_seconds
    if kind == "partition":
        return random.uniform(0.5, 2.5) * lease_seconds
    if kind == "kill":
        return random.uniform(0.0, 1.5) * lease_seconds
    if kind == "sever":
        return random.uniform(0.1, 0.5)
    if kind in ("hang", "delay"):
        return random.uniform(1.0, 6.0)
    return 0.0


class Faults:
    """Carries out a plan; what it breaks is whole again when `run` returns, also if it is cancelled."""

    def __init__(
        self, options: Options, servers: list[Server], database: TortureDatabase, model: Model, history: History
    ) -> None:
        self._plan = plan(options)
        self._servers = servers
        self._database = database
        self._model = model
        self._history = history
        self._database_lock = asyncio.Lock()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for fault in self._plan:
                tasks.create_task(self._carry_out(fault))

    async def _carry_out(self, planned: PlannedFault) -> None:
        await asyncio.sleep(max(0.0, planned.at - self._history.now()))
        server = self._servers[planned.process]
        if planned.aimed:
            server = await self._aim(read_elsewhere=planned.kind in TAKEN_OVER) or server
        try:
            await getattr(self, f"_{planned.kind}")(planned, server)
        except ServerError as error:
            self._history.violate("process", str(error))

    async def _aim(self, *, read_elsewhere: bool) -> Server | None:
        """Wait for an answer that is about to be stored (and is read elsewhere); the server that generates it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AIM_SECONDS):
                while True:
                    generation = await self._model.last_word()
                    server = self._servers[generation.process]
                    if server.lock.locked() or (read_elsewhere and not self._history.read_elsewhere(generation)):
                        continue
                    return server
        return None

    @contextlib.asynccontextmanager
    async def _fault(self, planned: PlannedFault, process: int | None) -> AsyncIterator[Fault]:
        fault = Fault(planned.kind, process, self._history.now())
        self._history.faults.append(fault)
        try:
            yield fault
        finally:
            fault.ended = self._history.now()

    async def _kill(self, planned: PlannedFault, server: Server) -> None:
        async with server.lock, self._fault(planned, server.number):
            await server.kill()
            await asyncio.sleep(planned.lasts)
            await server.start_again()

    async def _freeze(self, planned: PlannedFault, server: Server) -> None:
        async with server.lock, self._fault(planned, server.number):
            server.send(signal.SIGSTOP)
            try:
                await asyncio.sleep(planned.lasts)
            finally:
                server.send(signal.SIGCONT)

    async def _term(self, planned: PlannedFault, server: Server) -> None:
        async with server.lock, self._fault(planned, server.number):
            status = await server.terminate()
            if status != 0:
                self._history.violate("process", f"{server.name} ended with status {status} after SIGTERM")
            await server.start_again()

    async def _cut(self, planned: PlannedFault, server: Server) -> None:
        async with self._fault(planned, server.number):
            server.connections.cut()

    async def _restart(self, planned: PlannedFault, _: Server) -> None:
        async with self._database_lock, self._fault(planned, None):
            await self._database.restart(signal.SIGKILL if planned.manner else signal.SIGQUIT)

    async def _hang(self, planned: PlannedFault, _: Server) -> None:
        async with self._database_lock, self._fault(planned, None):
            self._database.send(signal.SIGSTOP)
            try:
                await asyncio.sleep(planned.lasts)
            finally:
                self._database.send(signal.SIGCONT)

    async def _partition(self, planned: PlannedFault, server: Server) -> None:
        proxy = self._database.proxies()[server.number]
        async with server.lock, self._fault(planned, server.number):
            if planned.manner:
                proxy.cut()
            else:
                proxy.hang()
            try:
                await asyncio.sleep(planned.lasts)
            finally:
                proxy.heal()

    async def _sever(self, planned: PlannedFault, server: Server) -> None:
        proxy = self._database.proxies()[server.number]
        async with server.lock, self._fault(planned, server.number):
            proxy.hold(answers=planned.manner)
            try:
                await asyncio.sleep(planned.lasts)
            finally:
                proxy.lose()

    async def _delay(self, planned: PlannedFault, _: Server) -> None:
        async with self._database_lock, self._fault(planned, None):
            try:
                for proxy in self._database.proxies():
                    proxy.delay_seconds = 0.05 if planned.manner else 0.5
                await asyncio.sleep(planned.lasts)
            finally:
                for proxy in self._database.proxies():
                    proxy.delay_seconds = 0.0
