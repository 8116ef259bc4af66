"""How long the first token takes after the response to the POST, and each token from the model to the client."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benchmarks import client, machine, servers
from scripts.benchmarks.client import TOKEN, Connection, OnEvents
from scripts.benchmarks.figures import number, print_table, quantile, spread
from scripts.benchmarks.model import Model, paced, read_stamps

STREAMS = (1, 50)
# In all rounds together, for each number of streams.
TURNS = 1_000
TOKENS = 20
# Between the model's tokens. The echo has its default pace.
PACE_SECONDS = 0.005
GOALS = {1: "p50 < 5 ms", 50: "p99 < 100 ms"}

NS_PER_MS = 1e6


@dataclass(slots=True)
class Delays:
    """Nanoseconds. `first`: from the POST's response to the first token. `tokens`: from the model to the client."""

    first: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)


def measure(rounds: int) -> None:
    """Take TURNS turns of the echo and of the model stand-in, with one stream and with many at once."""
    model = Model()
    with (
        tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder,
        servers.chatserver(Path(folder) / "data", providers={"model": model.provider}) as server,
    ):
        results = machine.run(_measure(server, model, rounds))
    rows = []
    for (source, streams), delays in results.items():
        rows.append(_row(source, streams, "answered POST to first token", [each.first for each in delays]))
        if delays[0].tokens:
            rows.append(_row(source, streams, "model to client, each token", [each.tokens for each in delays]))
    print_table(
        f"latency in ms over {TURNS:,} turns of {TOKENS} tokens, one every {PACE_SECONDS * 1e3:.0f} ms; "
        f"of all, and p99 of {rounds} rounds: median (least to greatest)",
        ["answers of, streams at once, what", "p50", "p99", "max", "p99 of a round", "goal"],
        rows,
    )


def _row(source: str, streams: int, what: str, delays_ns: Sequence[Sequence[int]]) -> list[str]:
    rounds = [[ns / NS_PER_MS for ns in each] for each in delays_ns]
    every = [ms for each in rounds for ms in each]
    return [
        f"{source}, {streams}: {what}",
        number(quantile(every, 0.5)),
        number(quantile(every, 0.99)),
        number(max(every)),
        spread([quantile(each, 0.99) for each in rounds]),
        GOALS[streams],
    ]


async def _measure(server: servers.Server, model: Model, rounds: int) -> dict[tuple[str, int], list[Delays]]:
    model.script = paced(TOKENS, PACE_SECONDS)
    async with model:
        admin = await Connection.open(server.port)
        agents = {"echo": None, "model": await client.create_agent(admin, "model")}
        admin.close()
        results: dict[tuple[str, int], list[Delays]] = {
            (source, streams): [] for streams in STREAMS for source in agents
        }
        for number_of_round in range(rounds + 1):
            for (source, streams), delays in results.items():
                turns = math.ceil(TURNS / rounds / streams)
                taken = await _take_turns(server.port, agents[source], streams, turns)
                if number_of_round:  # the first round warms up
                    delays.append(taken)
        return results


async def _take_turns(port: int, agent_id: str | None, streams: int, turns: int) -> Delays:
    """Take this number of turns in each of `streams` conversations at once."""
    delays = Delays()

    async def converse() -> None:
        connection = await Connection.open(port)
        conversation_id = await client.create_conversation(connection, agent_id)
        read = read_stamps(delays.tokens) if agent_id else None
        for _ in range(turns):
            path, asked_ns = await client.ask(connection, conversation_id, client.echo_content(TOKENS))
            await connection.follow(path, _first(asked_ns, delays.first, read))
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(converse())
    return delays


def _first(asked_ns: int, first_ns: list[int], then: OnEvents | None) -> OnEvents:
    waiting = True

    def on_events(arrived_ns: int, events: bytes) -> None:
        nonlocal waiting
        if waiting and TOKEN in events:
            waiting = False
            first_ns.append(arrived_ns - asked_ns)
        if then is not None:
            then(arrived_ns, events)

    return on_events
