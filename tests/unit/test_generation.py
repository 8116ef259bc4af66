"""The sink of an answer appends what the model sends, in turns with others."""

from __future__ import annotations

import asyncio
from uuid import UUID

from chatserver.live.demand import Demand
from chatserver.live.generation import DELTAS_PER_TURN, AnswerSink
from chatserver.live.interruption import Interruption
from chatserver.live.journal import Journal
from chatserver.metrics import Metrics
from chatserver.providers.base import TextDelta


async def test_more_deltas_than_fit_a_turn_are_appended_in_several_turns() -> None:
    journal, demand = Journal(UUID(int=1), 1), Demand(60, lambda: None, askers=frozenset((None,)), has_grace=True)
    sink = AnswerSink(journal, demand, Interruption(), max_chars=1_000_000, metrics=Metrics("1"))
    held = sink.push([TextDelta("x")] * (3 * DELTAS_PER_TURN + 1))
    assert held is not None
    counts = [journal.events]

    async def rest() -> None:
        assert not await held

    task = asyncio.ensure_future(rest())
    while not task.done():
        await asyncio.sleep(0)
        if journal.events != counts[-1]:
            counts.append(journal.events)
    await task
    assert counts == [DELTAS_PER_TURN * number for number in (1, 2, 3)] + [3 * DELTAS_PER_TURN + 1]
