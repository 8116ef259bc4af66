"""How many whole turns a second several processes carry out on one PostgreSQL, each turn with two commits or more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass

from scripts.benchmarks import machine
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import quantile, spread
from scripts.benchmarks.fleet import fleet
from scripts.benchmarks.whole_turns import WholeTurns

PROCESSES = (1, 2, 4)
CONNECTIONS, TOKENS = 32, 20
ECHO = "echo"
WARM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Measured:
    """A second each: turns, and those refused. Milliseconds; and how many cores were used."""

    turns: float
    refused: float
    post_p99: float
    commit_p99: float
    servers: float
    database: float
    load: float


_COLUMNS = {
    "turns": "turns/s",
    "refused": "refused/s",
    "post_p99": "POST p99 ms",
    "commit_p99": "commit p99 ms",
    "servers": "cores used: servers",
    "database": "database",
    "load": "load",
}


def measure(bench: Bench) -> None:
    """Take turns at so many processes, on all cores, the load's among them."""
    results = {
        processes: [machine.run(_measure(processes, bench.seconds(5)), shared=True) for _ in range(bench.rounds)]
        for processes in PROCESSES
    }
    bench.report.raw["commits"] = {
        processes: [[getattr(each, name) for name in _COLUMNS] for each in rounds]
        for processes, rounds in results.items()
    }
    bench.report.table(
        f"commits: whole turns (POST, GET, {TOKENS} tokens, done) on {CONNECTIONS} connections; servers, database and "
        f"load share {os.cpu_count()} cores; medians of {bench.rounds} rounds (least to greatest)",
        ["processes", *_COLUMNS.values()],
        [
            [str(processes), *(spread([getattr(each, name) for each in rounds]) for name in _COLUMNS)]
            for processes, rounds in results.items()
        ],
    )


async def _measure(processes: int, seconds: float) -> _Measured:
    turns = WholeTurns()
    async with fleet(processes, providers={ECHO: {"kind": "echo", "pace_ms": 0}}) as each:
        taking = asyncio.create_task(turns.take(each.ports(), CONNECTIONS, ECHO, TOKENS))
        await asyncio.sleep(WARM_SECONDS)
        turns.forget()
        began, before = time.monotonic(), each.cpu_seconds()
        await asyncio.sleep(seconds)
        passed = time.monotonic() - began
        used = [(after - earlier) / passed for after, earlier in zip(each.cpu_seconds(), before, strict=True)]
        measured = _Measured(
            turns.count / passed,
            turns.refused / passed,
            quantile(turns.post_ms, 0.99),
            quantile(turns.commit_ms, 0.99),
            *used,
        )
        taking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await taking
    return measured
