"""What readers cost that take nothing, each of an answer of its own, and what a fast reader beside them notices."""

from __future__ import annotations

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.comparison import Figures
from scripts.benchmarks.figures import number
from scripts.benchmarks.load import Plan
from scripts.benchmarks.report import Bars
from scripts.benchmarks.targets import CHAT, EXPRESS, Target, question

# An answer is three times as large as what a socket takes that nobody reads from.
STALLED, TOKENS, PACE_MS = 1_000, 2_000, 20
SECONDS = 4.0
MEMORY, CPU, GAP_P99, GAP_MAX = "MiB more", "CPU s", "fast reader's gaps, p99 ms", "max ms"


def measure(bench: Bench) -> None:
    """Let readers ask for a long answer and take nothing, on a server that was just started, once."""
    stalled = bench.few(STALLED)
    results: dict[str, Figures] = {}
    for name in (CHAT, EXPRESS):
        with bench.targets.fresh(name) as target:
            if target is not None:
                results[name] = _take(bench, target, stalled)
    bench.report.raw["slow"] = results
    seconds = bench.seconds(SECONDS)
    bench.report.table(
        f"slow: {stalled:,} readers that take nothing of answers of {TOKENS:,} tokens that are there at once, and "
        f"one that reads {1000 // PACE_MS} tokens/s; {seconds:.0f} s",
        ["server", MEMORY, CPU, GAP_P99, GAP_MAX],
        [[name, *map(number, figures.values())] for name, figures in results.items()],
    )
    memory = {name: figures[MEMORY] for name, figures in results.items()}
    title = f"slow: {stalled:,} readers that take nothing"
    bench.report.bars.append(Bars("slow", title, MEMORY, "less is better", memory))


def _take(bench: Bench, target: Target, stalled: int) -> Figures:
    (fast,) = target.conversations(1, TOKENS, PACE_MS)
    slow = target.conversations(stalled, TOKENS, 0)
    paths = [slow[index % len(slow)] for index in range(stalled)]
    plan = Plan(
        [*paths, fast],
        stalled + 1,
        question(TOKENS),
        stalled=stalled,
        warm_seconds=0,
        seconds=bench.seconds(SECONDS),
    )
    measured = bench.generator.run(target.server, plan)
    return {
        MEMORY: (measured.end_kib - measured.before_kib) / 1024,
        CPU: measured.server_seconds,
        GAP_P99: measured.gap_ms.p99,
        GAP_MAX: measured.gap_ms.max,
    }
