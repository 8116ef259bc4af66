"""Whole turns, one after the other on each of many connections: a question stored, its answer streamed to `done`."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

from scripts.benchmarks import client
from scripts.benchmarks.client import TOKEN, Connection

# How soon a client comes back that was refused.
AGAIN_SECONDS = 0.5
_DONE = b'data: {"type":"done"'


class WholeTurns:
    """The turns that were taken so far. `post_ms`: of each question; `commit_ms`: from the last token to `done`.

    `refused` are those that the server had no time for, or that failed.
    """

    def __init__(self) -> None:
        self.refused = 0
        self.post_ms: list[float] = []
        self.commit_ms: list[float] = []

    @property
    def count(self) -> int:
        return len(self.commit_ms)

    def forget(self) -> None:
        """Count from now on."""
        self.refused = 0
        self.post_ms.clear()
        self.commit_ms.clear()

    async def take(self, ports: Sequence[int], connections: int, provider: str, tokens: int) -> None:
        """Take turns until cancelled, each connection in a conversation of its own. `provider` is an echo."""
        content = client.echo_content(tokens)
        async with asyncio.TaskGroup() as group:
            for _, port in zip(range(connections), itertools.cycle(ports), strict=False):
                group.create_task(self._repeat(port, provider, content))

    async def _repeat(self, port: int, provider: str, content: str) -> None:
        while True:
            connection = await Connection.open(port)
            try:
                agent_id = await client.create_agent(connection, provider)
                conversation_id = await client.create_conversation(connection, agent_id)
                while True:
                    await self._take(connection, conversation_id, content)
            except (RuntimeError, EOFError):
                self.refused += 1
                await asyncio.sleep(AGAIN_SECONDS)
            finally:
                connection.close()

    async def _take(self, connection: Connection, conversation_id: str, content: str) -> None:
        asked_ns = time.monotonic_ns()
        path, answered_ns = await client.ask(connection, conversation_id, content)
        end = _End()
        await connection.follow(path, end.note)
        self.post_ms.append((answered_ns - asked_ns) / 1e6)
        self.commit_ms.append((end.done_ns - end.token_ns) / 1e6)


class _End:
    """When the last token of an answer and its `done` arrived."""

    def __init__(self) -> None:
        self.token_ns = self.done_ns = 0

    def note(self, arrived_ns: int, events: bytes) -> None:
        if TOKEN in events:
            self.token_ns = arrived_ns
        if _DONE in events:
            self.done_ns = arrived_ns
