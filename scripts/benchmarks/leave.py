"""How long the model's connection stays open after the only reader left."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path

from scripts.benchmarks import client, machine, servers
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.client import TOKEN, Connection
from scripts.benchmarks.figures import number, quantile
from scripts.benchmarks.model import Model, ModelConnection, Script, paced
from scripts.benchmarks.report import Goal

READERS = 100
GOAL = Goal("leave: reset to the model's connection closed, p99", 50, " ms")


async def _silent(connection: ModelConnection) -> None:
    """Send one token, then nothing: a server that notices lost readers only when it writes would not notice."""
    connection.send_token()
    await connection.closed


SCRIPTS: dict[str, Script] = {"a token every 5 ms": paced(100_000, 0.005), "thinks in silence": _silent}


def measure(bench: Bench) -> None:
    """Reset READERS readers one after the other, without a grace period, for each kind of model."""
    model = Model()
    with (
        tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder,
        servers.chatserver(
            Path(folder) / "data",
            providers={"model": model.provider},
            default_provider="model",
            resume_grace_seconds=0,
        ) as server,
    ):
        results = machine.run(_measure(server, model, bench.rounds))
    bench.report.table(
        f"leave: ms from a reader's reset to the model's connection closed, {READERS} readers, no grace",
        ["the model meanwhile", "p50", "p99", "max"],
        [
            [name, number(quantile(ms, 0.5)), number(quantile(ms, 0.99)), number(max(ms))]
            for name, ms in results.items()
        ],
    )
    bench.report.goal(GOAL, [quantile([ms for each in results.values() for ms in each], 0.99)])


async def _measure(server: servers.Server, model: Model, rounds: int) -> dict[str, list[float]]:
    results: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    async with model:
        for _ in range(rounds):
            for name, script in SCRIPTS.items():
                model.script = script
                for _ in range(READERS // rounds):
                    results[name].append(await _leave(server.port, model))
    return results


async def _leave(port: int, model: Model) -> float:
    """Milliseconds from the reader's reset until the model's connection is closed."""
    asking = await Connection.open(port)
    path, _ = await client.ask(asking, await client.create_conversation(asking), "Tell me")
    asking.close()
    reader = await Connection.open(port)
    began = asyncio.Event()
    following = asyncio.create_task(reader.follow(path, lambda _, events: began.set() if TOKEN in events else None))
    await began.wait()
    assert model.newest is not None
    left_ns = time.monotonic_ns()
    reader.reset()
    closed_ns = await model.newest.closed
    with contextlib.suppress(EOFError):
        await following
    return (closed_ns - left_ns) / 1e6
