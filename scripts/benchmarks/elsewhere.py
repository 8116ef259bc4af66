"""How much later a token comes to readers at another process than at its owner's readers, and what that costs."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks import client, machine, servers
from scripts.benchmarks.arrivals import Arrivals
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.client import Connection
from scripts.benchmarks.figures import quantile, spread
from scripts.benchmarks.model import Model, until
from scripts.benchmarks.report import Goal

# Answers that are followed at the other process, and the seconds between two tokens of each.
FOLLOWED = ((1, 0.05), (100, 0.25), (1_000, 2.0))
GOAL = Goal("elsewhere: 1,000 answers, a token's lag behind the owner's readers, p99", 100, " ms")


@dataclass(frozen=True, slots=True)
class Lags:
    """Milliseconds behind the owner's readers; and the CPU time, in ms per token, of what takes part."""

    ms: list[float]
    owner_cpu: float
    follower_cpu: float
    database_cpu: float


def measure(bench: Bench) -> None:
    """Two processes on one database; each answer has one reader at each."""
    model = Model()
    machine.raise_open_files()
    settings = {"providers": {"model": model.provider}, "default_provider": "model", "max_runs": 5_000}
    with tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder:
        data = Path(folder) / "data"
        with servers.chatserver(data, **settings) as owner, servers.chatserver(data, **settings) as other:  # type: ignore[arg-type]
            results = machine.run(_measure(bench, owner, other, model))
    bench.report.raw["elsewhere"] = {
        answers: [(quantile(each.ms, 0.5), quantile(each.ms, 0.99), max(each.ms)) for each in rounds]
        for answers, rounds in results.items()
    }
    bench.report.table(
        "elsewhere: ms from a token's arrival at a reader of its owner to its arrival at another process's; medians of "
        f"{bench.rounds} rounds (least to greatest)",
        ["answers followed", "p50", "p99", "max", "CPU ms a token: owner", "other process", "database"],
        [
            [
                f"{answers:,}",
                *(spread([quantile(each.ms, share) for each in rounds]) for share in (0.5, 0.99, 1.0)),
                spread([each.owner_cpu for each in rounds]),
                spread([each.follower_cpu for each in rounds]),
                spread([each.database_cpu for each in rounds]),
            ]
            for answers, rounds in results.items()
        ],
    )
    if not bench.quick:
        bench.report.goal(GOAL, [quantile(each.ms, 0.99) for each in results[FOLLOWED[-1][0]]])


async def _measure(bench: Bench, owner: servers.Server, other: servers.Server, model: Model) -> dict[int, list[Lags]]:
    results: dict[int, list[Lags]] = {}
    async with model:
        for _ in range(bench.rounds):
            for followed, pace in FOLLOWED:
                answers = bench.few(followed) or 1
                lags = await _follow(owner, other, model, answers, pace, bench.seconds(10))
                results.setdefault(answers, []).append(lags)
    return results


async def _follow(
    owner: servers.Server, other: servers.Server, model: Model, answers: int, pace: float, seconds: float
) -> Lags:
    ended = asyncio.Event()
    model.script = until(ended, pace)
    arrivals, following = (Arrivals(), Arrivals()), []
    asking = await Connection.open(owner.port)
    for _ in range(answers):
        path, _ = await client.ask(asking, await client.create_conversation(asking), "Tell me")
        for process, server in enumerate((owner, other)):
            reader = await Connection.open(server.port)
            following.append(asyncio.create_task(reader.follow(path, arrivals[process].note)))
            await asyncio.sleep(0.005 if process == 0 else pace / answers)
    asking.close()
    await asyncio.sleep(2.0)
    since_ns = asyncio.get_running_loop().time() * 1e9
    cpu = [machine.cpu_seconds(pids) for pids in ([owner.pid], [other.pid], owner.database_pids())]
    await asyncio.sleep(seconds)
    used = [
        (machine.cpu_seconds(pids) - before) * 1e3
        for before, pids in zip(cpu, ([owner.pid], [other.pid], owner.database_pids()), strict=True)
    ]
    tokens = arrivals[0].sent(since_ns)
    ended.set()
    await asyncio.gather(*following)
    lags = arrivals[1].lags_ms(since_ns, before=arrivals[0])
    assert len(lags) >= 0.9 * tokens, "tokens did not arrive at the other process"
    return Lags(lags, *(each / tokens for each in used))
