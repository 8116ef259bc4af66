"""How much memory the text of an answer takes while the answer is made."""

from __future__ import annotations

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import number
from scripts.benchmarks.load import Model, Plan
from scripts.benchmarks.report import Goal
from scripts.benchmarks.targets import CHAT, Target, question

ANSWERS, SHORT, LONG = 50, 100, 20_000
# The model's tokens are `word` and a blank in turn.
TOKEN_BYTES = 2.5


def measure(bench: Bench) -> None:
    """Hold long answers, each with a reader that has read it all, against short ones, once, on a fresh server."""
    with bench.targets.fresh(CHAT) as chat:
        assert chat is not None
        short, long = (_resident_kib(bench, chat, tokens) for tokens in (SHORT, LONG))
    text_kib = ANSWERS * (LONG - SHORT) * TOKEN_BYTES / 1024
    times = (long - short) / text_kib
    bench.report.raw["memory"] = {"text KiB": text_kib, "resident KiB": long - short}
    bench.report.table(
        f"memory: {ANSWERS} answers of {LONG:,} tokens that are being made",
        ["", "text MiB", "memory MiB", "memory / text"],
        [[CHAT, number(text_kib / 1024), number((long - short) / 1024), number(times)]],
    )
    bench.report.goal(Goal("memory: an answer that is being made, memory / text", 3), [times])


def _resident_kib(bench: Bench, chat: Target, tokens: int) -> float:
    """The server's memory once all readers have all tokens."""
    plan = Plan(
        chat.relayed(ANSWERS),
        ANSWERS,
        question(20),
        warm_seconds=0,
        until_tokens=ANSWERS * tokens,
        model=Model(tokens, stays=True),
    )
    return bench.generator.run(chat.server, plan).end_kib
