"""The built-in provider: it repeats the question word by word, and needs no model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

from chatserver.providers.base import Delta, Finish, Prompt, TextDelta

# A piece is a word, or the white space between two words. Joined they are the text.
_PIECE = re.compile(r"\s+|\S+")
# Without a pace, other tasks get a turn after so many pieces.
_PIECES_PER_TURN = 32


class EchoProvider:
    """Answers `Echo from agent: ` and the content of the last turn.

    `pace_seconds` is the time between two pieces. The pieces keep to one clock, so late wake-ups do not add up. A
    consumer that stays away longer than the pace restarts the clock, and is not flooded afterwards.
    """

    needs_user_turn = False
    max_prompt_chars = 0

    def __init__(self, pace_seconds: float = 0.005) -> None:
        self._pace_seconds = pace_seconds

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta, bool | None]:
        text = f"Echo from agent: {prompt.turns[-1].content}" if prompt.turns else "No message to echo."
        loop = asyncio.get_running_loop()
        due = loop.time()
        unbroken = 0
        for piece in _PIECE.finditer(text):
            now = loop.time()
            if due > now:
                await asyncio.sleep(due - now)
                unbroken = 0
            else:
                due = now
                unbroken += 1
                if unbroken == _PIECES_PER_TURN:
                    await asyncio.sleep(0)
                    unbroken = 0
            yield TextDelta(piece[0])
            due += self._pace_seconds
        yield Finish("stop")

    def close(self) -> None:
        """Nothing is kept between answers."""
