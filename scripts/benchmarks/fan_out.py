"""One answer for many readers."""

from __future__ import annotations

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.comparison import Comparison, Figures, RatioGoal, compare, per_thousand
from scripts.benchmarks.load import Plan
from scripts.benchmarks.report import FLAT, Goal
from scripts.benchmarks.targets import BARE, CHAT, EXPRESS, NCHAN, Target

# The cost of a delivery depends on how many tokens a reader gets: so these are the same for few readers and for many.
READERS, MANY_READERS, TOKENS = 500, 5_000, 200
PACE_MS, PACED_TOKENS = 50, 30
RATE, CPU, BUSY = "deliveries/s", "CPU ms per 1,000 deliveries", "load busy"


def measure(bench: Bench) -> None:
    """Measure one answer for 500 readers, paced and as fast as can be, and one for 5,000."""
    paced = Comparison(
        "fan-out, 500 readers, paced",
        f"fan-out: one answer of {1000 // PACE_MS} tokens/s to {READERS} readers",
        lambda target: _take(bench, target, READERS, PACED_TOKENS, PACE_MS),
        {CPU: "CPU per delivery"},
        (RatioGoal(CPU, EXPRESS, 0.5),),
    )
    compare(bench, paced, CHAT, BARE, EXPRESS)
    fast = Comparison(
        "fan-out, 500 readers, as fast as can be",
        f"fan-out: one answer of {TOKENS} tokens, all there at once, to {READERS} readers",
        lambda target: _take(bench, target, READERS, TOKENS, 0),
        {RATE: "deliveries/s", CPU: "CPU per delivery"},
        (RatioGoal(RATE, EXPRESS, 4, at_most=False), RatioGoal(RATE, NCHAN, 3, at_most=False)),
        more_is_better=True,
    )
    results = compare(bench, fast, CHAT, BARE, EXPRESS, NCHAN)
    readers = bench.few(MANY_READERS)
    many = Comparison(
        f"fan-out, {readers:,} readers",
        f"fan-out: one answer of {TOKENS} tokens, all there at once, to {readers:,} readers",
        lambda target: _take(bench, target, readers, TOKENS, 0),
        {RATE: "deliveries/s", CPU: "CPU per delivery"},
        more_is_better=True,
    )
    more_results = compare(bench, many, CHAT)
    grown = [more[CPU] / few[CPU] for more, few in zip(more_results[CHAT], results[CHAT], strict=True)]
    bench.report.goal(Goal(f"fan-out: CPU per delivery, {readers:,} readers / {READERS}", FLAT), grown)


def _take(bench: Bench, target: Target, readers: int, tokens: int, pace_ms: float) -> Figures:
    answer = target.fan_out(tokens, pace_ms)
    plan = Plan(
        [answer.path],
        readers,
        tokens=tokens,
        warm_seconds=0.1,
        fan_out=True,
        start=answer.start,
        publish=answer.publish,
        model=answer.model,
    )
    measured = bench.generator.run(target.server, plan)
    return {
        RATE: measured.tokens / measured.fan_seconds,
        CPU: per_thousand(measured.server_seconds, measured.tokens),
        BUSY: measured.busy,
    }
