"""How much memory the text of an answer takes while the answer is made."""

from __future__ import annotations

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import number
from scripts.benchmarks.load import Measured, Model, Plan
from scripts.benchmarks.report import Goal
from scripts.benchmarks.targets import CHAT, Target, question

# After SHORT answers, all is there that an answer takes whatever its length: its connections, its newest frames, and
# what is read ahead from the model.
ANSWERS, SHORT, LONG = 50, 1_000, 20_000
# The model's tokens are `word` and a blank in turn.
TOKEN_BYTES = 2.5


def measure(bench: Bench) -> None:
    """Hold long answers, each with a reader that has read it all, against short ones, once, on a fresh server."""
    with bench.targets.fresh(CHAT) as chat:
        assert chat is not None
        short, long = (_hold(bench, chat, tokens) for tokens in (SHORT, LONG))
    first_kib = (short.end_kib - short.before_kib) / ANSWERS
    text_kib = ANSWERS * (LONG - SHORT) * TOKEN_BYTES / 1024
    resident_kib = long.end_kib - short.end_kib
    times = resident_kib / text_kib
    bench.report.raw["memory"] = {"first KiB": first_kib, "text KiB": text_kib, "resident KiB": resident_kib}
    bench.report.table(
        f"memory: {ANSWERS} answers that are being made, from {SHORT:,} to {LONG:,} tokens",
        ["", f"KiB until {SHORT:,}, each", "text MiB from there", "memory MiB", "memory / text"],
        [[CHAT, *map(number, (first_kib, text_kib / 1024, resident_kib / 1024, times))]],
    )
    bench.report.goal(Goal("memory: an answer that is being made, memory / text", 3), [times])


def _hold(bench: Bench, chat: Target, tokens: int) -> Measured:
    """What was measured when all readers had all tokens."""
    plan = Plan(
        chat.relayed(ANSWERS),
        ANSWERS,
        question(20),
        warm_seconds=0,
        until_tokens=ANSWERS * tokens,
        model=Model(tokens, stays=True),
    )
    return bench.generator.run(chat.server, plan)
