"""Whole turns with the database: the question stored, the answer streamed and stored, `done`."""

from __future__ import annotations

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.comparison import Comparison, Figures, RatioGoal, compare, per_one
from scripts.benchmarks.load import Plan
from scripts.benchmarks.targets import CHAT, EXPRESS_PG, FASTAPI, Target, question

CONNECTIONS, TOKENS = 32, 20
RATE, CPU, DATABASE_CPU = "turns/s", "server CPU ms a turn", "database CPU ms a turn"
POST, FIRST = "POST p50 ms", "first token p50 ms"


def measure(bench: Bench) -> None:
    """Take turns one after the other on each connection, each in a conversation of its own."""

    def take(target: Target) -> Figures:
        paths = target.conversations(CONNECTIONS, TOKENS, 0)
        plan = Plan(paths, CONNECTIONS, question(TOKENS), tokens=TOKENS, seconds=bench.seconds(1.2))
        measured = bench.generator.run(target.server, plan)
        return {
            RATE: measured.turns / measured.seconds,
            CPU: per_one(measured.server_seconds, measured.turns),
            DATABASE_CPU: per_one(measured.database_seconds, measured.turns),
            POST: measured.post_ms.p50,
            FIRST: measured.first_token_ms.p50,
        }

    comparison = Comparison(
        "turns",
        f"turns: POST, GET, {TOKENS} tokens without a pause, done, on {CONNECTIONS} connections",
        take,
        {RATE: "turns/s", DATABASE_CPU: "database CPU a turn", CPU: "server CPU a turn"},
        (
            RatioGoal(RATE, EXPRESS_PG, 2, at_most=False),
            RatioGoal(RATE, FASTAPI, 5, at_most=False),
            RatioGoal(DATABASE_CPU, EXPRESS_PG, 0.3),
        ),
        more_is_better=True,
    )
    compare(bench, comparison, CHAT, EXPRESS_PG, FASTAPI)
