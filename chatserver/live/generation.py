"""Taking an answer from a model into the journal, while somebody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Sequence
from typing import Any

from chatserver.errors import ErrorCode, ProviderError
from chatserver.live.demand import Demand
from chatserver.live.interruption import Interruption
from chatserver.live.journal import Journal, Kind
from chatserver.live.reader import BATCH_FRAMES
from chatserver.metrics import Metrics
from chatserver.providers.base import Delta, Finish, Prompt, Provider, TextDelta

# After so many deltas that are ready at once, others have a turn. A reader gets them in one batch.
DELTAS_PER_TURN = BATCH_FRAMES
# The errors that a model's hang-up looks like.
HANG_UPS: frozenset[ErrorCode] = frozenset({"interrupted", "unavailable", "timeout"})

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Stop reasons come in the provider's own words.
STOP_REASON_CHARS = 100
# The greatest `integer` of PostgreSQL.
MOST_TOKENS = 2**31 - 1


class _Text:
    """The answer, or the thinking, as far as it has come."""

    __slots__ = ("chars", "cleaner", "kind")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.cleaner = TextCleaner()
        self.chars = 0


class AnswerSink:
    """The sink of one answer: it appends to the journal what the model sends, as long as the answer is wanted.

    `fill` is to be called once. When the run is interrupted, which also cancels `fill`, nothing is appended any more.
    """

    __slots__ = (
        "_answer",
        "_demand",
        "_interruption",
        "_journal",
        "_max_chars",
        "_metrics",
        "_started",
        "_thinking",
    )

    def __init__(
        self, journal: Journal, demand: Demand, interruption: Interruption, *, max_chars: int, metrics: Metrics
    ) -> None:
        self._journal = journal
        self._demand = demand
        self._interruption = interruption
        self._max_chars = max_chars
        self._metrics = metrics
        self._answer, self._thinking = _Text("token"), _Text("reasoning")
        self._started: float | None = None  # when the answer was asked for; None before, and after its first delta

    async def fill(self, provider: Provider, prompt: Prompt) -> Finish:
        """Have the provider push the answer into this sink; how it ended.

        Nothing is taken from the model while there is no demand; what it sent before is held back. Raises
        ProviderError, also if the answer is empty or longer than `max_chars` characters. The model's connection is
        closed by the end of this, in every case.
        """
        await self._demand.resume()
        self._started = asyncio.get_running_loop().time()
        generating = provider.generate(prompt, self)
        del prompt  # the provider lets go of it when it can
        finish = await generating
        await self._demand.resume()
        if self.wanted and (rest := self._answer.cleaner.rest()):
            self._append_text(self._answer, [rest])
        if not self._answer.chars:
            raise ProviderError("bad_response", "The model gave an empty answer")
        return clean_finish(finish)

    @property
    def wanted(self) -> bool:
        return self._interruption.why is None and self._demand.wanted

    def push(self, deltas: Sequence[Delta]) -> Awaitable[bool] | None:
        taken = self._append(deltas)
        return None if taken == len(deltas) else _Held(self, deltas[taken:])

    async def append_in_turns(self, deltas: Sequence[Delta]) -> bool:
        """Append the deltas in turns with others, while the answer is wanted. True: for a while it was not."""
        paused = False
        while deltas:
            if self._demand.wanted:
                await asyncio.sleep(0)
            else:
                paused = True
                await self._demand.wait()
            deltas = deltas[self._append(deltas) :]
        return paused

    def _append(self, deltas: Sequence[Delta]) -> int:
        """Append deltas if the answer is wanted, DELTAS_PER_TURN at most; how many were taken."""
        # Looked at once for all: whoever is told of a frame leaves, or stops the answer, in a later turn of the loop.
        if self._interruption.why is not None or not self._demand.wanted or not deltas:
            return 0
        if len(deltas) > DELTAS_PER_TURN:
            deltas = deltas[:DELTAS_PER_TURN]
        text = self._answer
        pieces: list[str] = []
        for delta in deltas:
            text_of_delta = self._answer if type(delta) is TextDelta else self._thinking
            if text_of_delta is not text:
                self._append_text(text, pieces)
                text, pieces = text_of_delta, []
            if piece := text.cleaner.clean(delta.text):
                pieces.append(piece)
        self._append_text(text, pieces)
        self._demand.paused = False
        if self._started is not None:
            self._metrics.first_token_seconds.observe(asyncio.get_running_loop().time() - self._started)
            self._started = None
        return len(deltas)

    def _append_text(self, text: _Text, pieces: Sequence[str]) -> None:
        if not pieces:
            return
        for piece in pieces:
            text.chars += len(piece)
        if text.chars > self._max_chars:
            raise ProviderError(
                "answer_too_long", f"The answer, or its thinking, is longer than {self._max_chars} characters"
            )
        self._journal.append(text.kind, pieces)
        if text is self._answer:
            self._metrics.tokens.inc(len(pieces))


class _Held:
    """Deltas that are held back. A provider that is cancelled may leave it without awaiting it."""

    __slots__ = ("_deltas", "_sink")

    def __init__(self, sink: AnswerSink, deltas: Sequence[Delta]) -> None:
        self._sink = sink
        self._deltas = deltas

    def __await__(self) -> Generator[Any, None, bool]:
        return self._sink.append_in_turns(self._deltas).__await__()


def hung_up_in_pause(error: ProviderError, demand: Demand) -> bool:
    """Whether a model hung up because nobody took its answer from it."""
    return (demand.paused or error.in_pause) and error.code in HANG_UPS


# --- text that can be stored ------------------------------------------------------------------------------


class TextCleaner:
    """Makes the deltas of one text such that they can be stored and sent.

    PostgreSQL stores no NUL, and UTF-8 no lone surrogate. Models, or the JSON encoders before them, cut surrogate pairs
    between two deltas: the first half waits for the second.
    """

    __slots__ = ("_half",)

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
