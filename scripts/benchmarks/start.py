"""Time to ready: from the start of the process to its line on standard output."""

from __future__ import annotations

import compileall
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import chatserver
from chatserver.storage.postgres.embedded import EmbeddedPostgres
from chatserver.storage.postgres.migrate import migrations_folder
from scripts.benchmarks import machine, servers
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import number
from scripts.benchmarks.report import Goal

FRESH, USED, RUNNING = "a fresh data directory", "a used data directory", "a database that is running"
GOALS = {FRESH: 5, USED: 2, RUNNING: 0.6}
# Each takes long, and they hardly differ.
MOST_ROUNDS = 3


class _Start(NamedTuple):
    """Seconds until the server was ready, and how many of them it waited for a core."""

    seconds: float
    waited: float


def measure(bench: Bench) -> None:
    """Start the server with no database yet (initdb, migrations), with a stopped one, and with one that is running."""
    # An installed package has its byte code; in a checkout it may be missing or old.
    for code in (Path(chatserver.__file__).parent, migrations_folder()):
        compileall.compile_dir(code, quiet=1)
    starts: dict[str, list[_Start]] = {name: [] for name in GOALS}
    rounds = min(bench.rounds, MOST_ROUNDS)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder:
            data_dir = Path(folder) / "data"
            starts[FRESH].append(_start(data_dir))
            starts[USED].append(_start(data_dir))
            database = EmbeddedPostgres(data_dir)
            url = database.start()
            try:
                starts[RUNNING].append(_start(data_dir, database_url=url))
            finally:
                database.stop()
    every = [each for taken in starts.values() for each in taken]
    machine.warn_if_disturbed(sum(each.waited for each in every), sum(each.seconds for each in every))
    seconds = {name: [each.seconds for each in taken] for name, taken in starts.items()}
    bench.report.raw["start"] = seconds
    bench.report.table(
        f"start: seconds to ready, {rounds} starts each, on all cores",
        ["with", "median", "max"],
        [[name, number(median(values)), number(max(values))] for name, values in seconds.items()],
    )
    for name, limit in GOALS.items():
        bench.report.goal(Goal(f"start with {name}", limit, " s"), seconds[name])


def _start(data_dir: Path, **settings: object) -> _Start:
    started = time.perf_counter()
    with servers.chatserver(data_dir, core=None, **settings) as server:
        return _Start(time.perf_counter() - started, machine.seconds_without_core(server.pid))
