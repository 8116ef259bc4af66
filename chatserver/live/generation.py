"""Taking an answer from a model into the journal, while somebody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from chatserver.errors import ErrorCode, ProviderError
from chatserver.live.demand import Demand
from chatserver.live.journal import Journal
from chatserver.metrics import Metrics
from chatserver.providers.base import Delta, Finish, Prompt, Provider, ReasoningDelta, TextDelta

# After so many deltas that are ready at once, other tasks have a turn: the readers get what is there.
DELTAS_PER_TURN = 32
# The errors that a model's hang-up looks like.
HANG_UPS: frozenset[ErrorCode] = frozenset({"interrupted", "unavailable", "timeout"})

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Stop reasons come in the provider's own words.
STOP_REASON_CHARS = 100
# The greatest `integer` of PostgreSQL.
MOST_TOKENS = 2**31 - 1


async def generate(
    provider: Provider, prompt: Prompt, journal: Journal, demand: Demand, *, max_chars: int, metrics: Metrics
) -> Finish:
    """Append the answer to the journal, piece by piece; how it ended.

    Nothing is taken from the model while there is no demand; a delta that was asked for before is held back. Raises
    ProviderError, also if the answer is empty or longer than `max_chars` characters. The model's connection is closed
    by the end of this, in every case.

    The model is told of each pause before its next delta is asked for, so it knows a hang-up that happened in a pause
    from one that a reader saw.
    """
    answer, thinking = TextCleaner(), TextCleaner()
    thought = taken = 0
    await demand.resume()
    clock = asyncio.get_running_loop().time
    started = clock()
    async with aclosing(provider.generate(prompt)) as deltas:
        paused: bool | None = None
        while (delta := await _next(deltas, paused)) is not None:
            paused = None if demand else True
            if demand.paused:
                await demand.resume()
            if not taken:
                metrics.first_token_seconds.observe(clock() - started)
            taken += 1
            match delta:
                case TextDelta():
                    if text := answer.clean(delta.text):
                        journal.append_text(text)
                        metrics.tokens.inc()
                case ReasoningDelta():
                    if text := thinking.clean(delta.text):
                        thought += len(text)
                        journal.append_reasoning(text)
                case Finish():
                    if rest := answer.rest():
                        journal.append_token(rest)
                    if not journal.chars:
                        raise ProviderError("bad_response", "The model gave an empty answer")
                    return clean_finish(delta)
            if journal.chars > max_chars or thought > max_chars:
                raise ProviderError("answer_too_long", f"The answer is longer than {max_chars} characters")
            if taken % DELTAS_PER_TURN == 0:
                await asyncio.sleep(0)
    raise ProviderError("interrupted", "The model broke off its answer")


async def _next(deltas: AsyncGenerator[Delta, bool | None], paused: bool | None) -> Delta | None:
    """The next delta; None if there is none. `paused`: True after a pause."""
    try:
        return await deltas.asend(paused)
    except StopAsyncIteration:
        return None


def hung_up_in_pause(error: ProviderError, demand: Demand) -> bool:
    """Whether a model hung up because nobody took its answer from it."""
    return (demand.paused or error.in_pause) and error.code in HANG_UPS


# --- text that can be stored ------------------------------------------------------------------------------


class TextCleaner:
    """Makes the deltas of one text such that they can be stored and sent.

    PostgreSQL stores no NUL, and UTF-8 no lone surrogate. Models, or the JSON encoders before them, cut surrogate pairs
    between two deltas: the first half waits for the second.
    """

    def __init__(self) -> None:
        self._half = ""

    def clean(self, text: str) -> str:
        """The part of `text` that can be sent now; it may be empty."""
        if not self._half and (text.isascii() or _encodes(text)):
            return text.replace("\x00", "") if "\x00" in text else text
        text = self._half + text
        self._half = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return self.clean_whole(text)

    def rest(self) -> str:
        """The last part, once the text has ended."""
        half, self._half = self._half, ""
        return REPLACEMENT if half else ""

    @staticmethod
    def clean_whole(text: str) -> str:
        """`text` with pairs joined, lone halves replaced, and without NUL."""
        if not _encodes(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text.replace("\x00", "")


def clean_finish(finish: Finish) -> Finish:
    """`finish` with a stop reason that can be stored, and without a usage that cannot."""
    usage = finish.usage
    if usage is not None and not all(0 <= count <= MOST_TOKENS for count in (usage.input_tokens, usage.output_tokens)):
        usage = None
    return Finish(TextCleaner.clean_whole(finish.stop_reason)[:STOP_REASON_CHARS], usage)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
