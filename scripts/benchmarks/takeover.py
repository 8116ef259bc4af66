"""How long readers wait for the new owner of their answer when its process dies, freezes, or loses the database."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

from scripts.benchmarks import client, machine
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.client import TOKEN, Connection
from scripts.benchmarks.figures import number, quantile
from scripts.benchmarks.fleet import Fleet, fleet
from scripts.benchmarks.model import Model, until
from scripts.benchmarks.report import Goal

PROCESSES = 3
OWNER, READING = 0, 1
ANSWERS = 20
PACE_SECONDS = 0.05
# Longer than any takeover may take: nobody waits so long unless it fails.
PATIENCE_SECONDS = 60.0
GOAL = Goal("takeover: the new owner's first event after the worst of the faults, max", 15, " s")
_RESET = b'data: {"type":"reset"'


class _Reader:
    """A reader of an answer whose owner fails.

    `began`: it has a token. `taken_over`: it has the first event of a new owner, and `goes_on`: a token of it.
    """

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.taken_over = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.waited_seconds = 0.0
        self._fault_ns = float("inf")

    def fault(self) -> None:
        """The owner fails now."""
        self._fault_ns = time.monotonic_ns()

    def note(self, arrived_ns: int, events: bytes) -> None:
        if TOKEN in events:
            (self.goes_on if self.taken_over.is_set() else self.began).set()
        if _RESET in events and arrived_ns > self._fault_ns and not self.taken_over.is_set():
            self.waited_seconds = (arrived_ns - self._fault_ns) / 1e9
            self.taken_over.set()


async def _kill(each: Fleet) -> None:
    each.members[OWNER].send(signal.SIGKILL)


async def _start_again(each: Fleet) -> None:
    await each.members[OWNER].kill()
    await each.members[OWNER].start()


async def _freeze(each: Fleet) -> None:
    each.members[OWNER].send(signal.SIGSTOP)


async def _thaw(each: Fleet) -> None:
    each.members[OWNER].send(signal.SIGCONT)


async def _cut_off(each: Fleet) -> None:
    each.database.proxies()[OWNER].cut()


async def _heal(each: Fleet) -> None:
    each.database.proxies()[OWNER].heal()


Act = Callable[[Fleet], Awaitable[None]]
# What happens to the owner, and how it is undone.
FAULTS: dict[str, tuple[Act, Act]] = {
    "killed (SIGKILL)": (_kill, _start_again),
    "frozen (SIGSTOP)": (_freeze, _thaw),
    "cut off from the database": (_cut_off, _heal),
}


def measure(bench: Bench) -> None:
    """In each round each fault hits the owner of ANSWERS answers, whose readers are at another process."""
    model, answers = Model(), bench.few(ANSWERS)
    results = machine.run(_measure(bench.rounds, answers, model), shared=True)
    bench.report.raw["takeover"] = results
    bench.report.table(
        f"takeover: seconds from the fault to the new owner's first event at readers elsewhere, {PROCESSES} processes, "
        f"{bench.rounds} rounds of {answers} answers",
        ["the owner is", "p50", "max"],
        [[name, number(quantile(seconds, 0.5)), number(max(seconds))] for name, seconds in results.items()],
    )
    bench.report.goal(GOAL, [max(max(seconds) for seconds in results.values())])


async def _measure(rounds: int, answers: int, model: Model) -> dict[str, list[float]]:
    results: dict[str, list[float]] = {name: [] for name in FAULTS}
    providers = {"model": model.provider}
    async with model, fleet(PROCESSES, proxies=True, providers=providers, default_provider="model") as processes:
        for _ in range(rounds):
            for name, (begin, undo) in FAULTS.items():
                results[name] += await _take_over(processes, model, answers, begin, undo)
    return results


async def _take_over(processes: Fleet, model: Model, answers: int, begin: Act, undo: Act) -> list[float]:
    ended = asyncio.Event()
    model.script = until(ended, PACE_SECONDS)
    owner, reading = processes.members[OWNER], processes.members[READING]
    readers, following, lost = [], [], []
    asking = await Connection.open(owner.port)
    for _ in range(answers):
        path, _ = await client.ask(asking, await client.create_conversation(asking), "Tell me")
        first, here = _Reader(), await Connection.open(owner.port)
        lost.append(asyncio.create_task(here.follow(path, first.note)))
        await first.began.wait()
        reader, there = _Reader(), await Connection.open(reading.port)
        following.append(asyncio.create_task(there.follow(path, reader.note)))
        readers.append(reader)
    asking.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        for reader in readers:
            await reader.began.wait()
        for reader in readers:
            reader.fault()
        await begin(processes)
        for reader in readers:
            await reader.goes_on.wait()
    await undo(processes)
    ended.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*following)
        # Those of the old owner end in their own ways.
        await asyncio.gather(*lost, return_exceptions=True)
    return [reader.waited_seconds for reader in readers]
