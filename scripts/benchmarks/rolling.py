"""What clients notice while all processes are restarted, one after the other."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from scripts.benchmarks import client, machine
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.client import Connection
from scripts.benchmarks.event_source import EventSource
from scripts.benchmarks.figures import number, quantile
from scripts.benchmarks.fleet import Fleet, fleet
from scripts.benchmarks.model import Model, ModelConnection

PROCESSES = 3
CLIENTS = 100
# Answers take longer than the drain, so that many are cut in the middle.
ANSWER_SECONDS, PACE_SECONDS, DRAIN_SECONDS = 12.0, 0.1, 5.0
# How soon a question is asked again that a process refused, since it was just ending.
AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Plan:
    """How many clients ask for answers that take so many seconds."""

    clients: int
    answer_seconds: float

    @property
    def words(self) -> list[str]:
        """The answer to every question, so that each client knows what it has to show at the end."""
        return [f"{number} " for number in range(round(self.answer_seconds / PACE_SECONDS))]

    async def say(self, connection: ModelConnection) -> None:
        """What the model does."""
        for word in self.words:
            if connection.closed.done():
                return
            connection.send_token(word)
            await asyncio.sleep(PACE_SECONDS)
        connection.send_end()


def measure(bench: Bench) -> None:
    """Clients ask one question after the other, of any process that is up, until all have been restarted."""
    plan, drain_seconds = _Plan(bench.few(CLIENTS), bench.seconds(ANSWER_SECONDS)), bench.seconds(DRAIN_SECONDS)
    rounds = machine.run(_measure(bench.rounds, plan, drain_seconds), shared=True)
    streams = [stream for each in rounds for stream in each]
    exact = [
        stream
        for stream in streams
        if (stream.viewer.terminal or {}).get("type") == "done" and stream.viewer.text == "".join(plan.words)
    ]
    silences = [stream.silence for stream in streams]
    bench.report.raw["rolling"] = [
        [(stream.connections, stream.silence, stream.without_data) for stream in each] for each in rounds
    ]
    bench.report.table(
        f"rolling: {PROCESSES} processes restarted one after the other, {plan.clients} clients, answers of "
        f"{plan.answer_seconds:g} s, drain_seconds = {drain_seconds:g}; {bench.rounds} rounds",
        ["streams with exact text", "all", "that came back", "longest silence, s: p50", "max", "without pings: max"],
        [
            [
                f"{len(exact):,}",
                f"{len(streams):,}",
                f"{sum(stream.connections > 1 for stream in streams):,}",
                number(quantile(silences, 0.5)),
                number(max(silences)),
                number(max(stream.without_data for stream in streams)),
            ]
        ],
    )


async def _measure(rounds: int, plan: _Plan, drain_seconds: float) -> list[list[EventSource]]:
    model = Model()
    model.script = plan.say
    providers = {"model": model.provider}
    settings = {"default_provider": "model", "drain_seconds": drain_seconds}
    async with model, fleet(PROCESSES, providers=providers, **settings) as processes:
        return [await _restart_all(processes, plan) for _ in range(rounds)]


async def _restart_all(processes: Fleet, plan: _Plan) -> list[EventSource]:
    """The streams that were open meanwhile."""
    restarted, streams = asyncio.Event(), list[EventSource]()
    async with asyncio.TaskGroup() as clients:
        for number in range(plan.clients):
            # Their answers begin spread over the time that one takes.
            delay = plan.answer_seconds * number / plan.clients
            clients.create_task(_ask(processes, streams, restarted, delay))
        await asyncio.sleep(plan.answer_seconds / 2)
        for member in processes.members:
            await member.stop()
            await member.start()
        restarted.set()
    return streams


async def _ask(processes: Fleet, streams: list[EventSource], restarted: asyncio.Event, delay: float) -> None:
    """Ask one question after the other until all processes are restarted."""
    await asyncio.sleep(delay)
    while not restarted.is_set():
        try:
            connection = await Connection.open(random.choice(processes.ports()))  # noqa: S311 - no secret
            path, _ = await client.ask(connection, await client.create_conversation(connection), "Count")
            connection.close()
        except (OSError, EOFError, RuntimeError):
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        stream = EventSource(processes.ports, path)
        streams.append(stream)
        await stream.read()
