"""What a relayed token costs: a model over HTTP, chatserver or a relay with the `openai` SDK, and many clients."""

from __future__ import annotations

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.comparison import Comparison, Figures, RatioGoal, compare, per_thousand
from scripts.benchmarks.load import Model, Plan
from scripts.benchmarks.targets import CHAT, RELAY, Target, question

# The SDK takes about half a core for these.
STREAMS, PACE_MS = 100, 50
CPU, RATE, P50, P99 = "CPU ms per 1,000 tokens", "tokens/s", "model to client p50 ms", "p99 ms"


def measure(bench: Bench) -> None:
    """Measure streams whose tokens come from the load's model, each at the pace of a fast model."""
    seconds = bench.seconds(1.2)
    tokens = int((seconds + 30) * 1000 / PACE_MS)

    def take(target: Target) -> Figures:
        plan = Plan(
            target.relayed(STREAMS),
            STREAMS,
            question(20),
            seconds=seconds,
            open_per_second=STREAMS,
            model=Model(tokens, PACE_MS / 1000),
        )
        measured = bench.generator.run(target.server, plan)
        return {
            CPU: per_thousand(measured.server_seconds, measured.tokens),
            RATE: measured.tokens / measured.seconds,
            P50: measured.delay_ms.p50,
            P99: measured.delay_ms.p99,
        }

    comparison = Comparison(
        "relay",
        f"relay: {STREAMS} streams of {1000 // PACE_MS} tokens/s each from a model over HTTP",
        take,
        {CPU: "CPU per token"},
        (RatioGoal(CPU, RELAY, 0.35),),
    )
    compare(bench, comparison, CHAT, RELAY)
