"""What a token costs in streams that are paced like a model's: the server's CPU, with few streams and with many."""

from __future__ import annotations

import math

from scripts.benchmarks import metrics
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.comparison import Comparison, Figures, RatioGoal, compare, per_thousand
from scripts.benchmarks.figures import spread
from scripts.benchmarks.load import Plan
from scripts.benchmarks.report import FLAT, Goal
from scripts.benchmarks.targets import BARE, CHAT, EXPRESS, SSE_STARLETTE, TORNADO, Target, question

_Results = dict[str, list[Figures]]

CPU = "CPU ms per 1,000 tokens"
RATE = "tokens/s"
DUE = "share of the due tokens"
GOALS = (RatioGoal(CPU, EXPRESS, 0.6), RatioGoal(CPU, SSE_STARLETTE, 0.4), RatioGoal(CPU, BARE, 1.1))

# Streams, and milliseconds between two tokens. A server that cannot keep up gathers tokens, which makes each cheaper.
# So with more streams each is slower, and no server has more than 10,000 tokens a second to send.
FEW, FEW_PACE_MS = 200, 50
MANY, MANY_PACE_MS = 1_000, 100
MOST, MOST_PACE_MS = 5_000, 500


def measure(bench: Bench) -> None:
    """Measure 200 streams of all servers, and whether a token costs more in 1,000 and in 5,000."""
    every = (CHAT, BARE, EXPRESS, SSE_STARLETTE, TORNADO)
    few = _compare(bench, FEW, FEW_PACE_MS, every)
    _compare(bench, bench.few(MANY), MANY_PACE_MS, (CHAT, EXPRESS))
    streams = bench.few(MOST)
    most = _compare(bench, streams, MOST_PACE_MS, (CHAT,))
    grown = [each[CPU] / other[CPU] for each, other in zip(most[CHAT], few[CHAT], strict=True)]
    bench.report.goal(Goal(f"paced: CPU per token, {streams:,} streams / {FEW}", FLAT), grown)


def _compare(bench: Bench, streams: int, pace_ms: int, names: tuple[str, ...]) -> _Results:
    """Report the figures, and hold what chatserver itself tells of its loop against the goal."""
    seconds = bench.seconds(1.2)
    # Enough for opening, warming up and measuring.
    tokens = int((seconds + 12 + streams / 100) * 1000 / pace_ms)
    paths: dict[str, list[str]] = {}
    # How long the loop was held up while the streams were opened, and while they were open.
    opening_ms: list[float] = []
    lags_ms: list[float] = []

    def take(target: Target) -> Figures:
        if target.name not in paths:
            paths[target.name] = target.conversations(streams, tokens, pace_ms)
        plan = Plan(
            paths[target.name],
            streams,
            body=question(tokens),
            seconds=seconds,
            # The streams begin one after the other, so that they do not all tick at once.
            open_per_second=max(2 * FEW, streams),
        )
        if target.name == CHAT:
            looks = [metrics.read(target.server)]
            measured = bench.generator.run(target.server, plan, lambda: looks.append(metrics.read(target.server)))
            opening_ms.append(metrics.loop_lag_ms(looks[0], looks[1]))
            lags_ms.append(metrics.loop_lag_ms(looks[1], looks[2]))
        else:
            measured = bench.generator.run(target.server, plan)
        rate = measured.tokens / measured.seconds
        return {
            CPU: per_thousand(measured.server_seconds, measured.tokens),
            RATE: rate,
            DUE: rate * pace_ms / 1000 / streams,
        }

    comparison = Comparison(
        f"paced, {streams:,} streams",
        f"paced: {streams:,} streams of {1000 // pace_ms} tokens/s each",
        take,
        {CPU: "CPU per token"},
        GOALS,
    )
    results = compare(bench, comparison, *names)
    if not any(map(math.isnan, lags_ms)):
        bench.report.table(
            f"paced: {streams:,} streams, how long the loop was held up, at most (by its own metric), ms",
            ["while they are opened", "while they are open"],
            [[spread(opening_ms), spread(lags_ms)]],
        )
        goal = Goal(f"paced, {streams:,} streams: the loop held up, at most (by its own metric)", 10, " ms")
        bench.report.goal(goal, lags_ms)
    return results
