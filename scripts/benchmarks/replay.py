"""Stored answers, read again."""

from __future__ import annotations

import asyncio

from scripts.benchmarks import client
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.client import Connection
from scripts.benchmarks.comparison import Comparison, Figures, compare, per_one
from scripts.benchmarks.load import Plan
from scripts.benchmarks.targets import CHAT, Target

CONNECTIONS, TOKENS = 32, 200
RATE, CPU, DATABASE_CPU = "replays/s", "server CPU ms a replay", "database CPU ms a replay"


def measure(bench: Bench) -> None:
    """Ask for the same answers over and over, each on a connection of its own."""
    paths: list[str] = []

    def take(target: Target) -> Figures:
        if not paths:
            paths.extend(asyncio.run(_answered(target)))
        measured = bench.generator.run(target.server, Plan(paths, CONNECTIONS, seconds=bench.seconds(1)))
        return {
            RATE: measured.turns / measured.seconds,
            CPU: per_one(measured.server_seconds, measured.turns),
            DATABASE_CPU: per_one(measured.database_seconds, measured.turns),
        }

    title = f"replay: stored answers of {TOKENS} tokens, on {CONNECTIONS} connections"
    compare(bench, Comparison("replay", title, take, {RATE: "replays/s"}, more_is_better=True), CHAT)


async def _answered(target: Target) -> list[str]:
    """The paths of streams whose answers are stored."""
    connection = await Connection.open(target.server.port)
    paths = []
    for _ in range(CONNECTIONS):
        conversation_id = await client.create_conversation(connection)
        path, _ = await client.ask(connection, conversation_id, client.echo_content(TOKENS))
        await connection.follow(path, lambda _arrived_ns, _events: None)
        paths.append(path)
    connection.close()
    return paths
