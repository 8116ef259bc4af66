"""How many tokens a core sends when they are there at once."""

from __future__ import annotations

from scripts.benchmarks import machine
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.comparison import Comparison, Figures, RatioGoal, compare, per_thousand
from scripts.benchmarks.figures import spread
from scripts.benchmarks.load import Plan
from scripts.benchmarks.report import FLAT, Goal
from scripts.benchmarks.targets import BARE, CHAT, EXPRESS, SSE_STARLETTE, Target, question

CONNECTIONS, TOKENS = 32, 1_000
LONG_CONNECTIONS, LONG_TOKENS = 8, 20_000
RATE, CPU, BUSY = "tokens/s", "CPU ms per 1,000 tokens", "load busy"


def measure(bench: Bench) -> None:
    """Ask for one long answer after the other, without a pause between its tokens."""

    def take(target: Target) -> Figures:
        paths = target.conversations(CONNECTIONS, TOKENS, 0)
        plan = Plan(paths, CONNECTIONS, question(TOKENS), tokens=TOKENS, seconds=bench.seconds(1))
        measured = bench.generator.run(target.server, plan)
        return {
            RATE: measured.tokens / measured.seconds,
            CPU: per_thousand(measured.server_seconds, measured.tokens),
            BUSY: measured.busy,
        }

    comparison = Comparison(
        "burst",
        f"burst: answers of {TOKENS:,} tokens without a pause on {CONNECTIONS} connections",
        take,
        {RATE: "tokens/s", CPU: "CPU per token"},
        (RatioGoal(RATE, EXPRESS, 1.5, at_most=False), RatioGoal(RATE, SSE_STARLETTE, 8, at_most=False)),
        more_is_better=True,
    )
    compare(bench, comparison, CHAT, BARE, EXPRESS, SSE_STARLETTE)
    _measure_length(bench)


def _measure_length(bench: Bench) -> None:
    """Hold the cost of a token in long answers against its cost in short ones."""
    (chat,) = bench.targets.get(CHAT)
    costs: dict[int, list[float]] = {TOKENS: [], LONG_TOKENS: []}
    for _ in range(bench.rounds):
        for tokens, rounds in costs.items():
            machine.settle([chat.server.pid])
            paths = chat.conversations(LONG_CONNECTIONS, tokens, 0)
            plan = Plan(paths, LONG_CONNECTIONS, question(tokens), tokens=tokens, seconds=bench.seconds(1))
            measured = bench.generator.run(chat.server, plan)
            rounds.append(per_thousand(measured.server_seconds, measured.tokens))
    bench.report.raw["burst, length of the answer"] = costs
    bench.report.table(
        f"burst: the length of the answer, on {LONG_CONNECTIONS} connections; medians of {bench.rounds} rounds",
        ["answers of", CPU],
        [[f"{tokens:,} tokens", spread(rounds)] for tokens, rounds in costs.items()],
    )
    grown = [long / short for long, short in zip(costs[LONG_TOKENS], costs[TOKENS], strict=True)]
    bench.report.goal(Goal(f"burst: CPU per token, answers of {LONG_TOKENS:,} tokens / {TOKENS:,}", FLAT), grown)
