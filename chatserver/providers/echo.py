"""The built-in provider: it repeats the question word by word, and needs no model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from itertools import islice

from chatserver.loop_share import LoopShare
from chatserver.providers.base import Finish, Prompt, Sink, TextDelta
from chatserver.providers.timer_wheel import TimerWheel

# A piece is a word, or the white space between two words. Joined they are the text.
_PIECE = re.compile(r"\s+|\S+")
# Without a pace, so many pieces are pushed in one turn.
_PIECES_PER_TURN = 64
# If the pace is a multiple of this, the pieces of all answers that are due within so many milliseconds are pushed
# together. Other paces would become uneven.
_SLOT_MS = 5


class EchoProvider:
    """Answers `Echo from agent: ` and the content of the last turn.

    `pace_seconds` is the time between two pieces. The pieces keep to one clock, so late wake-ups do not add up. A
    sink that holds the answer back for longer than the pace restarts the clock, and is not flooded afterwards. Answers
    without a pace take turns in `share`. `model` is the name that its answers bear.
    """

    needs_user_turn = False
    max_prompt_chars = 0

    def __init__(
        self, pace_seconds: float = 0.005, share: LoopShare | None = None, *, model: str | None = None
    ) -> None:
        self.model = model
        self._pace_seconds = pace_seconds
        self._wheel = TimerWheel(1 if round(pace_seconds * 1_000, 3) % _SLOT_MS else _SLOT_MS)
        self._share = share or LoopShare()

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        text = f"Echo from agent: {prompt.turns[-1].content}" if prompt.turns else "No message to echo."
        if self._pace_seconds:
            await _PacedAnswer(text, sink, self._pace_seconds, self._wheel).run()
        else:
            pieces = _PIECE.finditer(text)
            while deltas := [TextDelta(piece[0]) for piece in islice(pieces, _PIECES_PER_TURN)]:
                await self._share.turn()
                if (held := sink.push(deltas)) is not None:
                    await held
        return Finish("stop")

    def close(self) -> None:
        self._wheel.close()


class _PacedAnswer:
    """One answer, pushed piece by piece by a wheel."""

    __slots__ = ("_at", "_due", "_loop", "_pace_seconds", "_sink", "_stop", "_text", "_wheel")

    def __init__(self, text: str, sink: Sink, pace_seconds: float, wheel: TimerWheel) -> None:
        self._text = text
        self._at = 0
        self._sink = sink
        self._pace_seconds = pace_seconds
        self._wheel = wheel
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._stop: asyncio.Future[Awaitable[bool] | None] | None = None
        """Done when the wheel shall push no further piece: what to await first, or None if all is pushed."""

    async def run(self) -> None:
        """Return when all is pushed."""
        while (held := await self._until_held()) is not None:
            await held
            now = self._loop.time()
            if self._due <= now:
                self._due = now + self._pace_seconds

    async def _until_held(self) -> Awaitable[bool] | None:
        """Have the wheel push until the sink holds the answer back; what to await then. None: all is pushed."""
        stop: asyncio.Future[Awaitable[bool] | None] = self._loop.create_future()
        self._stop = stop
        due = self._tick() if self._due <= self._loop.time() else self._due
        if due is not None:
            self._wheel.call_at(due, self._tick)
        try:
            return await stop
        finally:
            self._stop = None  # an error in it would hold this answer: a circle, left for the garbage collector

    def _tick(self) -> float | None:
        """Push the next piece; when the one after it is due, None if the wheel shall push no further piece."""
        stop = self._stop
        if stop is None or stop.done():  # cancelled
            return None
        piece = _PIECE.match(self._text, self._at)
        if piece is None:
            stop.set_result(None)
            return None
        self._at = piece.end()
        try:
            held = self._sink.push((TextDelta(piece[0]),))
        except Exception as error:
            stop.set_exception(error)
            return None
        self._due = max(self._due + self._pace_seconds, self._loop.time())
        if held is None:
            return self._due
        stop.set_result(held)
        return None
