"""The model: a server of chat completions that counts its calls, and knows the process and the question of each.

What it says to a question is drawn from the seed, so that the checks know every answer in full.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Literal, Self

from scripts.torturing import markers
from scripts.torturing.history import Generation, History
from scripts.torturing.options import Options
from scripts.torturing.serving import ServingTasks

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
REFUSAL = b"HTTP/1.1 500 Broken\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

Manner = Literal["plain", "reasoning", "long", "slow", "refusal", "break", "report"]
MANNERS: dict[Manner, int] = {"plain": 62, "reasoning": 12, "long": 8, "slow": 4, "refusal": 5, "break": 5, "report": 4}
# Of answers that are generated again, so many are slow and not short: an owner that was frozen, and has the whole of
# its answer, then finds the new owner still at it.
SLOW_AGAIN = 0.7
_PACES: dict[Manner, tuple[float, float]] = {"long": (0.002, 0.01), "slow": (0.1, 0.2)}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model is to do: `words` with `pace_seconds` between them, after `wait_seconds`; `fails_after` words."""

    manner: Manner
    words: tuple[str, ...]
    wait_seconds: float
    pace_seconds: float
    fails_after: int

    @classmethod
    def drawn(cls, random: Random, marker: str, *, again: bool = False) -> Self:
        """`again`: the question was asked before."""
        manner = random.choices(list(MANNERS), list(MANNERS.values()))[0]
        fewest, most = (150, 400) if manner == "long" else (3, 50)
        if again and random.random() < SLOW_AGAIN:
            manner, fewest, most = "slow", 20, 50
        count = random.randint(fewest, most)
        # Each word bears the marker and its number: a piece that is missing or doubled cannot go unnoticed.
        words = tuple(f"{marker}.{number} " for number in range(count))
        return cls(
            manner,
            words,
            random.choice([0.0, 0.0, 0.02, 0.3]),
            random.uniform(*_PACES.get(manner, (0.005, 0.06))),
            random.randrange(count) if manner in ("break", "report") else count,
        )

    @property
    def text(self) -> str:
        return "".join(self.words)


class Model:
    """`async with Model(…)` serves at `base_url(process)`; `connections` is how many are open."""

    def __init__(self, options: Options, history: History, words: markers.Markers) -> None:
        self._options = options
        self._history = history
        self._markers = words
        self._calls: Counter[str] = Counter()
        self._waiting: list[asyncio.Future[Generation]] = []
        self._tasks = ServingTasks()
        self.connections = 0

    def base_url(self, process: int) -> str:
        return f"http://127.0.0.1:{self._port}/p{process}/v1"

    async def last_word(self) -> Generation:
        """Wait for the next answer whose last word has just been said: its end is not, so it is not stored yet."""
        waiting: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return await waiting

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._tasks.ended()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with self._tasks.running(), contextlib.suppress(OSError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                fields = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))
                }
                body = json.loads(await reader.readexactly(int(fields["content-length"])))
                await self._answer(int(head.split("/p")[1].split("/")[0]), body, reader, writer)
        finally:
            self.connections -= 1
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _answer(
        self, process: int, body: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        history = self._history
        found = markers.PATTERN.findall(str(body["messages"][-1]["content"]))
        question = found[0] if found else "?"
        self._calls[question] += 1
        marker = self._markers.new()
        answer = Answer.drawn(
            self._options.random("answer", question, self._calls[question]), marker, again=self._calls[question] > 1
        )
        generation = Generation(question, marker, process, answer.text, history.now())
        history.generations.append(generation)
        telling = asyncio.ensure_future(self._tell(generation, answer, writer))
        leaving = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait([telling, leaving], return_when=asyncio.FIRST_COMPLETED)
            if telling.done() and telling.exception() is None and not generation.hung_up:
                # The server closes the connection when it has read all.
                with contextlib.suppress(OSError, TimeoutError):
                    writer.write_eof()
                    await asyncio.wait_for(leaving, 60)
        finally:
            generation.ended = history.now()
            for task in (telling, leaving):
                task.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)

    async def _tell(self, generation: Generation, answer: Answer, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(answer.wait_seconds)
        if answer.manner == "refusal":
            generation.failed = True
            writer.write(REFUSAL)
            return
        writer.write(HEAD)
        if answer.manner == "reasoning":
            for number in range(5):
                await self._send(writer, {"reasoning_content": f"thinking of {generation.marker} {number} "})
                await asyncio.sleep(answer.pace_seconds)
        for number, word in enumerate(answer.words):
            if number == answer.fails_after:
                generation.failed = True
                if answer.manner == "break":
                    generation.hung_up = True
                    writer.transport.abort()
                else:
                    writer.write(b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n')
                return
            await self._send(writer, {"content": word})
            if number == len(answer.words) - 1:
                self._said_last_word(generation)
            await asyncio.sleep(answer.pace_seconds)
        await self._send(writer, {}, "stop")
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        generation.finished = True

    def _said_last_word(self, generation: Generation) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(generation)

    async def _send(self, writer: asyncio.StreamWriter, delta: dict[str, str], reason: str | None = None) -> None:
        event = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        writer.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        await writer.drain()
