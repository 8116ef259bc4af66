"""Time to ready: from the start of the process to its line on standard output."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

from scripts.benchmarks import servers
from scripts.benchmarks.figures import number, print_table

# What the issue asks for, in seconds.
COLD_GOAL, WARM_GOAL = "5 s", "2 s"


def measure(rounds: int) -> None:
    """Start the server in a fresh data directory (initdb, migrations), stop it, and start it there again."""
    cold, warm = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder:
            cold.append(_seconds_to_ready(Path(folder)))
            warm.append(_seconds_to_ready(Path(folder)))
    print_table(
        f"start: seconds to ready, {rounds} starts each, on all cores",
        ["data directory", "median", "max", "goal"],
        [
            ["fresh", number(median(cold)), number(max(cold)), COLD_GOAL],
            ["used before", number(median(warm)), number(max(warm)), WARM_GOAL],
        ],
    )


def _seconds_to_ready(folder: Path) -> float:
    started = time.perf_counter()
    with servers.chatserver(folder / "data", core=None):
        return time.perf_counter() - started
