"""A model that does what it is told: the first word of a question says how its answer goes."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.kit.model_server import HEAD, Call, ModelServer

# Statuses by the first word: a wrong key, and a prompt that is too long.
REFUSALS = {"deny": 401, "overflow": 413}


class ActingModel(ModelServer):
    """Each further answer to the same question has another number. `let_go` ends the wait of answers that wait."""

    def __init__(self) -> None:
        super().__init__(self._act)
        self._asked: Counter[str] = Counter()
        self._gate = asyncio.Event()

    async def let_go(self) -> None:
        self._gate.set()

    async def _act(self, call: Call) -> None:
        question: str = call.request["messages"][-1]["content"]
        self._asked[question] += 1
        number = self._asked[question]
        act = question.partition(" ")[0]
        if act in REFUSALS:
            await call.refuse(REFUSALS[act])
            return
        await call.send(HEAD)
        if act == "think":
            await call.think("Six times ")
            await self._wait()
            await call.think("seven.")
        if act == "wait":
            await call.send("A moment ")
            await self._wait()
        await call.send(f"Answer {number} ", f"to {question}")
        if act == "long":
            await call.send("\n\nand a line of it" * 60)
        if act == "break" and number == 1:
            call.hang_up()
        else:
            await call.finish("length" if act == "limit" else "stop")

    async def _wait(self) -> None:
        await self._gate.wait()
        self._gate.clear()
