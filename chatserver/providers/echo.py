"""The built-in provider: it repeats the question word by word, and needs no model."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from itertools import islice

from chatserver.loop_share import LoopShare
from chatserver.providers.base import Finish, Prompt, Sink, TextDelta
from chatserver.providers.timer_wheel import TimerWheel

# A piece is a word, or the white space between two words. Joined they are the text.
_PIECE = re.compile(r"\s+|\S+")
# Without a pace, so many pieces are pushed in one turn.
_PIECES_PER_TURN = 32
# If the pace is a multiple of this, the pieces of all answers that are due within so many milliseconds are pushed
# together. Other paces would become uneven.
_SLOT_MS = 5


class EchoProvider:
    """Answers `Echo from agent: ` and the content of the last turn.

    `pace_seconds` is the time between two pieces. The pieces keep to one clock, so late wake-ups do not add up. A
    sink that holds the answer back for longer than the pace restarts the clock, and is not flooded afterwards. Answers
    without a pace take turns in `share`.
    """

    needs_user_turn = False
    max_prompt_chars = 0

    def __init__(self, pace_seconds: float = 0.005, share: LoopShare | None = None) -> None:
        self._pace_seconds = pace_seconds
        self._wheel = TimerWheel(1 if round(pace_seconds * 1_000, 3) % _SLOT_MS else _SLOT_MS)
        self._share = share or LoopShare()

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        text = f"Echo from agent: {prompt.turns[-1].content}" if prompt.turns else "No message to echo."
        answer: _Answer
        if self._pace_seconds:
            answer = _PacedAnswer(text, sink, self._pace_seconds, self._wheel)
        else:
            answer = _EagerAnswer(text, sink, self._share)
        await answer.run()
        return Finish("stop")

    def close(self) -> None:
        self._wheel.close()


class _Answer(ABC):
    """One answer. `_begin` has it pushed by calls, which go on until `_push` says that they shall not."""

    __slots__ = ("_deltas", "_loop", "_sink", "_stop")

    def __init__(self, text: str, sink: Sink) -> None:
        self._deltas = (TextDelta(piece[0]) for piece in _PIECE.finditer(text))
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[Awaitable[bool] | None]
        """Done when nothing more is to be pushed: what to await first, or None if all is pushed."""

    async def run(self) -> None:
        """Return when all is pushed."""
        while True:
            self._stop = self._loop.create_future()
            self._begin()
            held = await self._stop
            if held is None:
                return
            await held

    @abstractmethod
    def _begin(self) -> None:
        """Have the next pieces pushed: now, or soon."""

    def _push(self, deltas: Sequence[TextDelta]) -> bool:
        """Push deltas, none after the last; whether to go on."""
        try:
            held = self._sink.push(deltas) if deltas else None
        except Exception as error:
            self._stop.set_exception(error)
            return False
        if deltas and held is None:
            return True
        self._stop.set_result(held)
        return False


class _PacedAnswer(_Answer):
    """A wheel pushes it piece by piece."""

    __slots__ = ("_due", "_pace_seconds", "_wheel")

    def __init__(self, text: str, sink: Sink, pace_seconds: float, wheel: TimerWheel) -> None:
        super().__init__(text, sink)
        self._pace_seconds = pace_seconds
        self._wheel = wheel
        self._due: float | None = None
        """When the next piece is due; None: the first one is, now."""

    def _begin(self) -> None:
        now = self._loop.time()
        if self._due is None:
            self._due = now
            due = self._tick()
        else:
            # If the sink held the answer back for longer, the clock starts anew.
            due = self._due = self._due if self._due > now else now + self._pace_seconds
        if due is not None:
            self._wheel.call_at(due, self._tick)

    def _tick(self) -> float | None:
        """Push the next piece; when the one after it is due, None if there shall be none."""
        if self._stop.done():  # cancelled
            return None
        assert self._due is not None
        now, due = self._loop.time(), self._due + self._pace_seconds
        self._due = due = max(due, now)
        delta = next(self._deltas, None)
        return due if self._push(() if delta is None else (delta,)) else None


class _EagerAnswer(_Answer):
    """It is pushed as fast as it is taken, in turns with others."""

    __slots__ = ("_share",)

    def __init__(self, text: str, sink: Sink, share: LoopShare) -> None:
        super().__init__(text, sink)
        self._share = share

    def _begin(self) -> None:
        self._share.call(self._turn)

    def _turn(self) -> None:
        if not self._stop.done() and self._push(list(islice(self._deltas, _PIECES_PER_TURN))):  # else cancelled
            self._share.call(self._turn)
