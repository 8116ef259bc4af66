"""How long the first token takes after the response to the POST, and each token from the model to the client."""

from __future__ import annotations

from scripts.benchmarks import machine
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import spread
from scripts.benchmarks.load import Model, Plan, Quantiles
from scripts.benchmarks.report import Goal
from scripts.benchmarks.targets import CHAT, Target, question

TOKENS, PACE_MS = 20, 5
# Streams at once, and the milliseconds between a model's tokens. With 1,000 streams these are 4,000 tokens a second,
# less than half of what the server can relay: with more, a queue would be measured.
RELAYED = ((1, 5), (50, 20), (1_000, 250))
GOALS = {
    (1, "p50"): Goal("latency, one stream: answered POST to first token, p50", 3, " ms"),
    (50, "p99"): Goal("latency, 50 streams at once: answered POST to first token, p99", 60, " ms"),
}
RELAY_GOALS = {"p50": 1, "p99": 10}


def measure(bench: Bench) -> None:
    """Take turns of the echo, then follow answers of the load's model."""
    (chat,) = bench.targets.get(CHAT)
    results: dict[str, list[Quantiles]] = {}
    for _ in range(bench.rounds):
        for streams in (1, 50):
            name = f"echo, {streams}: answered POST to first token"
            results.setdefault(name, []).append(_first_token(bench, chat, streams))
        for streams, pace_ms in RELAYED:
            name = f"model, {streams:,}: model's token to client"
            results.setdefault(name, []).append(_delay(bench, chat, streams, pace_ms))
        streams, pace_ms = RELAYED[-1]
        name = f"model, {streams:,}, all send at the same instant: model's token to client"
        results.setdefault(name, []).append(_delay(bench, chat, streams, pace_ms, together=True))
    bench.report.raw["latency"] = {
        name: [(each.p50, each.p99, each.max) for each in rounds] for name, rounds in results.items()
    }
    bench.report.table(
        f"latency in ms; medians of {bench.rounds} rounds (least to greatest)",
        ["answers of, streams at once: what", "p50", "p99", "max"],
        [
            [name, *(spread([getattr(each, quantile) for each in rounds]) for quantile in ("p50", "p99", "max"))]
            for name, rounds in results.items()
        ],
    )
    for (streams, quantile), goal in GOALS.items():
        rounds = results[f"echo, {streams}: answered POST to first token"]
        bench.report.goal(goal, [getattr(each, quantile) for each in rounds])
    streams = RELAYED[-1][0]
    for quantile, limit in RELAY_GOALS.items():
        rounds = results[f"model, {streams:,}: model's token to client"]
        goal = Goal(f"latency, {streams:,} streams: model's token to client, {quantile}", limit, " ms")
        bench.report.goal(goal, [getattr(each, quantile) for each in rounds])


def _first_token(bench: Bench, chat: Target, streams: int) -> Quantiles:
    machine.settle([chat.server.pid])
    paths = chat.conversations(streams, TOKENS, PACE_MS)
    plan = Plan(paths, streams, question(TOKENS), tokens=TOKENS, seconds=bench.seconds(1))
    return bench.generator.run(chat.server, plan).first_token_ms


def _delay(bench: Bench, chat: Target, streams: int, pace_ms: int, *, together: bool = False) -> Quantiles:
    machine.settle([chat.server.pid])
    seconds = bench.seconds(1)
    plan = Plan(
        chat.relayed(streams),
        streams,
        question(TOKENS),
        seconds=seconds,
        open_per_second=500,
        model=Model(int((seconds + 60) * 1000 / pace_ms), pace_ms / 1000, together=together),
    )
    return bench.generator.run(chat.server, plan).delay_ms
