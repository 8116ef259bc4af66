"""Where PostgreSQL ends as the carrier of tokens between processes, and what ordinary turns notice of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from dataclasses import dataclass

import psycopg

from scripts.benchmarks import client, machine
from scripts.benchmarks.arrivals import Arrivals
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.client import Connection
from scripts.benchmarks.figures import quantile, spread
from scripts.benchmarks.fleet import Fleet, fleet
from scripts.benchmarks.model import Model, ModelConnection, until
from scripts.benchmarks.whole_turns import WholeTurns

OWNERS = 2
# Answers that are followed at a further process, each with so many seconds between two tokens.
FOLLOWED = (0, 50, 100, 200, 400, 800)
PACE_SECONDS = 0.05
# Ordinary turns meanwhile, at the owners.
CONNECTIONS, TOKENS = 8, 20
ECHO = "echo"
WARM_SECONDS = 3.0
OPENED_AT_ONCE = 20
# PostgreSQL counts rows when a session is idle, at most once a second.
ROWS = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'chat_frames'"


@dataclass(frozen=True, slots=True)
class _Measured:
    """A second each: tokens that the models sent, those that came to readers elsewhere, rows of events, and turns.

    Milliseconds; and how many cores were used.
    """

    sent: float
    arrived: float
    rows: float
    lag_p50: float
    lag_p99: float
    turns: float
    refused: float
    commit_p99: float
    servers: float
    database: float
    load: float


_COLUMNS = {
    "sent": "tokens/s sent",
    "arrived": "arrived",
    "rows": "rows/s",
    "lag_p50": "lag p50 ms",
    "lag_p99": "p99",
    "turns": "turns/s",
    "refused": "refused/s",
    "commit_p99": "commit p99 ms",
    "servers": "cores used: servers",
    "database": "database",
    "load": "load",
}


def measure(bench: Bench) -> None:
    """More and more answers are followed at a process that generates none of them."""
    machine.raise_open_files()
    model = Model()
    results = machine.run(_measure(bench, model), shared=True)
    bench.report.raw["carrier"] = {
        followed: [[getattr(each, name) for name in _COLUMNS] for each in rounds]
        for followed, rounds in results.items()
    }
    bench.report.table(
        f"carrier: answers of {1 / PACE_SECONDS:.0f} tokens/s at {OWNERS} owners, read at another process, beside "
        f"turns on {CONNECTIONS} connections; servers, database and load share {os.cpu_count()} cores; medians of "
        f"{bench.rounds} rounds (least to greatest)",
        ["answers followed", *_COLUMNS.values()],
        [
            [f"{followed:,}", *(spread([getattr(each, name) for each in rounds]) for name in _COLUMNS)]
            for followed, rounds in results.items()
        ],
    )


async def _measure(bench: Bench, model: Model) -> dict[int, list[_Measured]]:
    results: dict[int, list[_Measured]] = {}
    providers = {"model": model.provider, ECHO: {"kind": "echo", "pace_ms": 0}}
    settings = {"default_provider": "model", "max_runs": 5_000}
    async with model, fleet(OWNERS + 1, providers=providers, **settings) as processes:
        for _ in range(bench.rounds):
            for followed in (FOLLOWED[0], FOLLOWED[-1]) if bench.quick else FOLLOWED:
                measured = await _carry(processes, model, bench.few(followed), bench.seconds(8))
                results.setdefault(bench.few(followed), []).append(measured)
    return results


async def _carry(processes: Fleet, model: Model, followed: int, seconds: float) -> _Measured:
    go, ended = asyncio.Event(), asyncio.Event()
    talk = until(ended, PACE_SECONDS)

    async def answer(connection: ModelConnection) -> None:
        connection.send_token("Well, ")
        await go.wait()
        await asyncio.sleep(random.uniform(0, PACE_SECONDS))  # noqa: S311 - no secret
        await talk(connection)

    model.script = answer
    *owners, reading = processes.ports()
    arrivals, turns, opening = Arrivals(), WholeTurns(), asyncio.Semaphore(OPENED_AT_ONCE)
    begun = (_follow(owners[number % OWNERS], reading, arrivals, opening) for number in range(followed))
    following = await asyncio.gather(*begun)
    go.set()
    taking = asyncio.create_task(turns.take(owners, CONNECTIONS, ECHO, TOKENS))
    await asyncio.sleep(WARM_SECONDS)
    turns.forget()
    began_ns, rows, before = time.monotonic_ns(), _rows(processes), processes.cpu_seconds()
    await asyncio.sleep(seconds)
    ended_ns = time.monotonic_ns()
    passed = (ended_ns - began_ns) / 1e9
    used = [(after - earlier) / passed for after, earlier in zip(processes.cpu_seconds(), before, strict=True)]
    arrived = sum(began_ns < at < ended_ns for at in arrivals.at.values())
    written, turns_taken, turns_refused = _rows(processes) - rows, turns.count, turns.refused
    commit_p99 = quantile(turns.commit_ms, 0.99)
    taking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await taking
    ended.set()
    await asyncio.gather(*following)
    lags = arrivals.lags_ms(began_ns) or [float("nan")]
    # All have arrived by now, so what was sent is known.
    return _Measured(
        arrivals.sent(began_ns, ended_ns) / passed,
        arrived / passed,
        written / passed,
        quantile(lags, 0.5),
        quantile(lags, 0.99),
        turns_taken / passed,
        turns_refused / passed,
        commit_p99,
        *used,
    )


async def _follow(owner: int, reading: int, arrivals: Arrivals, opening: asyncio.Semaphore) -> asyncio.Task[None]:
    """Have an answer begun at its owner, and read at the other process alone."""
    async with opening:
        asking, first, reader = [await Connection.open(port) for port in (owner, owner, reading)]
        path, _ = await client.ask(asking, await client.create_conversation(asking), "Tell me")
        asking.close()
        beginning, began = _read(first, path, Arrivals())
        await began.wait()
        following, joined = _read(reader, path, arrivals)
        await joined.wait()
        first.close()
        with contextlib.suppress(EOFError):
            await beginning
    return following


def _read(connection: Connection, path: str, arrivals: Arrivals) -> tuple[asyncio.Task[None], asyncio.Event]:
    """A task that reads an answer, and what is set when it has the first token."""
    began = asyncio.Event()

    def note(arrived_ns: int, events: bytes) -> None:
        if client.TOKEN in events:
            began.set()
        arrivals.note(arrived_ns, events)

    return asyncio.create_task(connection.follow(path, note)), began


def _rows(processes: Fleet) -> int:
    with psycopg.connect(processes.database.url) as connection:
        found = connection.execute(ROWS).fetchone()
        assert found is not None
        return int(found[0])
