"""Time to ready: from the start of the process to its line on standard output."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from scripts.benchmarks import machine, servers
from scripts.benchmarks.figures import number, print_table

# docs/performance.md names them.
COLD_GOAL, WARM_GOAL = "5 s", "2 s"


def measure(rounds: int) -> None:
    """Start the server in a fresh data directory (initdb, migrations), stop it, and start it there again."""
    cold: list[_Start] = []
    warm: list[_Start] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder:
            cold.append(_start(Path(folder)))
            warm.append(_start(Path(folder)))
    machine.warn_if_disturbed(sum(each.waited for each in cold + warm), sum(each.seconds for each in cold + warm))
    print_table(
        f"start: seconds to ready, {rounds} starts each, on all cores",
        ["data directory", "median", "max", "goal"],
        [_row("fresh", cold, COLD_GOAL), _row("used before", warm, WARM_GOAL)],
    )


class _Start(NamedTuple):
    """Seconds until the server was ready, and how many of them it waited for a core."""

    seconds: float
    waited: float


def _start(folder: Path) -> _Start:
    started = time.perf_counter()
    with servers.chatserver(folder / "data", core=None) as server:
        return _Start(time.perf_counter() - started, machine.seconds_without_core(server.pid))


def _row(name: str, starts: list[_Start], goal: str) -> list[str]:
    seconds = [each.seconds for each in starts]
    return [name, number(median(seconds)), number(max(seconds)), goal]
