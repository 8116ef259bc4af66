"""What one core carries: turns, paced streams, and one answer for many readers. Each round measures every server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from scripts.benchmarks import client, machine
from scripts.benchmarks.client import OPENING, TOKEN, Connection
from scripts.benchmarks.figures import number, print_table, spread
from scripts.benchmarks.model import Model, hold
from scripts.benchmarks.targets import FLOOR, Target, all_targets

# POST, GET, TURN_TOKENS tokens, done; one after the other on each connection.
TURN_CONNECTIONS, TURN_TOKENS = 32, 20
TURN_WARM_SECONDS, TURN_SECONDS = 0.5, 3.0
# Paced streams. They begin over a second, so that they do not all tick at once.
PACED_STREAMS, PACE_MS = 200, 50
PACED_WARM_SECONDS, PACED_SECONDS = 1.5, 3.0
# One answer for all readers.
READERS, FAN_TOKENS = 500, 200

Figures = dict[str, float]
"""The heading of a column, and the figure in it."""

TURNS, TURN_CPU, TURN_DATABASE_CPU = "turns/s", "server CPU ms a turn", "database CPU ms a turn"
TOKENS, TOKEN_CPU = "tokens/s", "server CPU ms per 1,000 tokens"
DELIVERIES, DELIVERY_CPU = "deliveries/s", "server CPU ms per 1,000 deliveries"
# If this is near 1, the load limits the rate, and the server could do more. The CPU times are right in any case.
LOAD = "load's core in use"


@dataclass(frozen=True, slots=True)
class Section:
    """One of the tables. `compared`: the columns whose ratio to the floor is shown, each with a short name.

    `for_all`: measure the targets with `only_turns`, too.
    """

    title: str
    take: Callable[[Target], Awaitable[Figures]]
    compared: dict[str, str]
    for_all: bool = False


def measure(rounds: int) -> None:
    """Measure the three sections for each target, in so many rounds."""
    sections = [
        Section(
            f"turns of {TURN_TOKENS} tokens without a pause on {TURN_CONNECTIONS} connections",
            _turns,
            {TURNS: "turns/s", TURN_CPU: "CPU"},
            for_all=True,
        ),
        Section(f"{PACED_STREAMS} streams of {1000 // PACE_MS} tokens/s each", _paced, {TOKEN_CPU: "CPU"}),
        Section(
            f"one answer of {FAN_TOKENS} tokens to {READERS} readers at once",
            _fan_out,
            {DELIVERIES: "deliveries/s", DELIVERY_CPU: "CPU"},
        ),
    ]
    model = Model()
    with (
        tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder,
        all_targets(Path(folder), model, PACE_MS) as targets,
    ):
        results = machine.run(_measure(sections, targets, model, rounds))
    for section in sections:
        _report(section, results[section.title], rounds)


def _report(section: Section, results: dict[str, list[Figures]], rounds: int) -> None:
    """Medians of the rounds, and of the ratios to the floor within each round."""
    floor = results[FLOOR]
    rows = []
    for name, figures in results.items():
        cells = [spread([each[column] for each in figures]) for column in floor[0]]
        pairs = list(zip(figures, floor, strict=True))
        ratios = [number(median(each[column] / other[column] for each, other in pairs)) for column in section.compared]
        rows.append([name, *cells, *ratios])
    header = ["server", *floor[0], *(f"{short}, {FLOOR} = 1" for short in section.compared.values())]
    print_table(f"throughput: {section.title}; medians of {rounds} rounds (least to greatest)", header, rows)


async def _measure(
    sections: Sequence[Section], targets: Sequence[Target], model: Model, rounds: int
) -> dict[str, dict[str, list[Figures]]]:
    """The figures of all rounds, by the section's title and the target's name."""
    model.script = hold(model.held)
    results: dict[str, dict[str, list[Figures]]] = {section.title: {} for section in sections}
    async with model:
        for section in sections:
            for number_of_round in range(rounds + 1):
                for target in targets:
                    if section.for_all or not target.only_turns:
                        figures = await section.take(target)
                        if number_of_round:  # the first round warms up
                            results[section.title].setdefault(target.name, []).append(figures)
    return results


class _Meter:
    """The CPU seconds of server, database and this process, and the time in seconds, since the meter was made."""

    def __init__(self, target: Target) -> None:
        self._server = [target.server.pid]
        self._database = target.server.database_pids()
        self._begin = self._now()

    def _now(self) -> tuple[float, float, float, float]:
        return (
            machine.cpu_seconds(self._server),
            machine.cpu_seconds(self._database),
            machine.cpu_seconds([os.getpid()]),
            time.monotonic(),
        )

    def read(self) -> tuple[float, float, float, float]:
        server, database, load, clock = (now - begin for now, begin in zip(self._now(), self._begin, strict=True))
        return server, database, load, clock


async def _turns(target: Target) -> Figures:
    port = target.server.port
    stop = asyncio.Event()
    done = 0

    async def converse(conversation_id: str) -> None:
        nonlocal done
        connection = await Connection.open(port)
        content = client.echo_content(TURN_TOKENS)
        tokens = 0

        def count(_arrived_ns: int, events: bytes) -> None:
            nonlocal tokens
            tokens += events.count(TOKEN)

        while not stop.is_set():
            path, _ = await client.ask(connection, conversation_id, content)
            tokens = 0
            await connection.follow(path, count)
            if tokens != TURN_TOKENS:
                raise RuntimeError(f"{target.name} gave {tokens} tokens for {TURN_TOKENS}")
            done += 1
        connection.close()

    async with asyncio.TaskGroup() as group:
        for conversation_id in await _conversations(target, TURN_CONNECTIONS, TURN_TOKENS, 0):
            group.create_task(converse(conversation_id))
        await asyncio.sleep(TURN_WARM_SECONDS)
        meter, before = _Meter(target), done
        await asyncio.sleep(TURN_SECONDS)
        (server, database, load, clock), turns = meter.read(), done - before
        stop.set()
    return {
        TURNS: turns / clock,
        TURN_CPU: server * 1e3 / turns,
        TURN_DATABASE_CPU: database * 1e3 / turns,
        LOAD: load / clock,
    }


async def _paced(target: Target) -> Figures:
    tokens = int((PACED_WARM_SECONDS + PACED_SECONDS + 0.5) * 1000 / PACE_MS)
    taken = 0

    def count(_arrived_ns: int, events: bytes) -> None:
        nonlocal taken
        taken += events.count(TOKEN)

    async def read(conversation_id: str, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        connection = await Connection.open(target.server.port)
        path, _ = await client.ask(connection, conversation_id, client.echo_content(tokens))
        await connection.follow(path, count)
        connection.close()

    conversation_ids = await _conversations(target, PACED_STREAMS, tokens, PACE_MS)
    async with asyncio.TaskGroup() as group:
        for index, conversation_id in enumerate(conversation_ids):
            group.create_task(read(conversation_id, index / PACED_STREAMS))
        await asyncio.sleep(PACED_WARM_SECONDS)
        with _spinning():
            meter, before = _Meter(target), taken
            await asyncio.sleep(PACED_SECONDS)
            (server, _, _, clock), measured = meter.read(), taken - before
    return {TOKEN_CPU: server * 1e6 / measured, TOKENS: measured / clock}


@contextlib.contextmanager
def _spinning() -> Iterator[None]:
    """Keep this process awake: in a virtual machine, waking it would cost the server much time, and unevenly."""
    loop = asyncio.get_running_loop()
    spinning = True

    def spin() -> None:
        if spinning:
            loop.call_soon(spin)

    spin()
    try:
        yield
    finally:
        spinning = False


async def _conversations(target: Target, count: int, tokens: int, pace_ms: int) -> list[str]:
    connection = await Connection.open(target.server.port)
    conversation_ids = [await target.conversation(connection, tokens, pace_ms) for _ in range(count)]
    connection.close()
    return conversation_ids


async def _fan_out(target: Target) -> Figures:
    taken, last_ns = 0, 0
    joined = asyncio.Semaphore(0)

    def count(arrived_ns: int, events: bytes) -> None:
        nonlocal taken, last_ns
        if OPENING in events:
            joined.release()
        if tokens := events.count(TOKEN):
            taken += tokens
            last_ns = arrived_ns

    publisher = await Connection.open(target.server.port)
    conversation_id = await target.live_conversation(publisher)
    path, _ = await client.ask(publisher, conversation_id, "Tell us all")
    readers = [await Connection.open(target.server.port) for _ in range(READERS)]
    async with asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(reader.follow(path, count))
        for _ in readers:
            await joined.acquire()
        meter, begin_ns = _Meter(target), time.monotonic_ns()
        await target.publish(publisher, FAN_TOKENS)
    server, _, load, clock = meter.read()
    for connection in [publisher, *readers]:
        connection.close()
    if taken != READERS * FAN_TOKENS:
        raise RuntimeError(f"{target.name} delivered {taken} tokens for {READERS * FAN_TOKENS}")
    return {
        DELIVERIES: taken * 1e9 / (last_ns - begin_ns),
        DELIVERY_CPU: server * 1e6 / taken,
        LOAD: load / clock,
    }
