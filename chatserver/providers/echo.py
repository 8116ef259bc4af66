"""The built-in provider: it repeats the question word by word, and needs no model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterator
from itertools import islice

from chatserver.providers.base import Finish, Prompt, Sink, TextDelta
from chatserver.providers.timer_wheel import TimerWheel

# A piece is a word, or the white space between two words. Joined they are the text.
_PIECE = re.compile(r"\s+|\S+")
# Without a pace, other tasks get a turn after so many pieces.
_PIECES_PER_TURN = 32


class EchoProvider:
    """Answers `Echo from agent: ` and the content of the last turn.

    `pace_seconds` is the time between two pieces. The pieces keep to one clock, so late wake-ups do not add up. A
    sink that holds the answer back for longer than the pace restarts the clock, and is not flooded afterwards.
    """

    needs_user_turn = False
    max_prompt_chars = 0

    def __init__(self, pace_seconds: float = 0.005) -> None:
        self._pace_seconds = pace_seconds
        self._wheel = TimerWheel()

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        text = f"Echo from agent: {prompt.turns[-1].content}" if prompt.turns else "No message to echo."
        deltas = (TextDelta(piece[0]) for piece in _PIECE.finditer(text))
        if self._pace_seconds:
            await _PacedAnswer(deltas, sink, self._pace_seconds, self._wheel).run()
        else:
            while batch := list(islice(deltas, _PIECES_PER_TURN)):
                await (sink.push(batch) or asyncio.sleep(0))
        return Finish("stop")

    def close(self) -> None:
        self._wheel.close()


class _PacedAnswer:
    """One answer, pushed piece by piece by a wheel."""

    def __init__(self, deltas: Iterator[TextDelta], sink: Sink, pace_seconds: float, wheel: TimerWheel) -> None:
        self._deltas = deltas
        self._sink = sink
        self._pace_seconds = pace_seconds
        self._wheel = wheel
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._stop: asyncio.Future[Awaitable[bool] | None]  # done when the wheel shall push no further piece

    async def run(self) -> None:
        """Return when all is pushed."""
        while (held := await self._until_held()) is not None:
            await held
            now = self._loop.time()
            if self._due <= now:
                self._due = now + self._pace_seconds

    async def _until_held(self) -> Awaitable[bool] | None:
        """Have the wheel push until the sink holds the answer back; what to await then. None: all is pushed."""
        self._stop = self._loop.create_future()
        if self._due <= self._loop.time():
            self._tick()
        else:
            self._wheel.call_at(self._due, self._tick)
        return await self._stop

    def _tick(self) -> None:
        """Push the next piece."""
        if self._stop.done():  # cancelled
            return
        try:
            delta = next(self._deltas, None)
            held = None if delta is None else self._sink.push((delta,))
        except Exception as error:
            self._stop.set_exception(error)
            return
        self._due += self._pace_seconds
        if delta is None or held is not None:
            self._stop.set_result(held)
        else:
            self._due = max(self._due, self._loop.time())
            self._wheel.call_at(self._due, self._tick)
