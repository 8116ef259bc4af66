"""What waiting costs: memory for each stream in which nothing happens, and the CPU of its pings."""

from __future__ import annotations

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.comparison import Figures, per_thousand
from scripts.benchmarks.figures import number
from scripts.benchmarks.load import Plan
from scripts.benchmarks.report import Bars, Goal
from scripts.benchmarks.targets import BARE, CHAT, EXPRESS, Target

STREAMS = 10_000
PING_SECONDS = 4.0
MEMORY, PING_CPU, PINGS = "KiB a stream", "CPU ms per 1,000 pings", "share of the due pings"


def measure(bench: Bench) -> None:
    """Open the streams on a server that was just started, once: memory hardly differs between rounds."""
    streams = bench.few(STREAMS)
    results: dict[str, Figures] = {}
    for name in (CHAT, BARE, EXPRESS):
        with bench.targets.fresh(name, ping_seconds=PING_SECONDS) as target:
            if target is not None:
                results[name] = _take(bench, target, streams)
    bench.report.raw["idle"] = results
    bench.report.table(
        f"idle: {streams:,} streams that wait, a ping every {PING_SECONDS:.0f} s",
        ["server", MEMORY, PING_CPU, PINGS],
        [[name, *map(number, figures.values())] for name, figures in results.items()],
    )
    bench.report.goal(Goal("idle: memory of a waiting stream", 14, " KiB"), [results[CHAT][MEMORY]])
    memory = {name: figures[MEMORY] for name, figures in results.items()}
    bench.report.bars.append(Bars("idle", f"idle: {streams:,} streams that wait", MEMORY, "less is better", memory))


def _take(bench: Bench, target: Target, streams: int) -> Figures:
    answer = target.idle(PING_SECONDS)
    # So long that each stream has one ping.
    plan = Plan([answer.path], streams, seconds=PING_SECONDS, model=answer.model)
    measured = bench.generator.run(target.server, plan)
    return {
        MEMORY: (measured.begin_kib - measured.before_kib) / streams,
        PING_CPU: per_thousand(measured.server_seconds, measured.comments),
        PINGS: measured.comments / streams,
    }
