"""From the text that a model sends to the text of the answer: thinking in tags is told apart, pictures are replaced."""

from __future__ import annotations

from chatserver.providers.base import Delta, ReasoningDelta, TextDelta
from chatserver.providers.pictures import PictureFilter
from chatserver.providers.thinking_tags import ThinkingSplitter


class AnswerText:
    """Reads the text of one answer, which comes in pieces, cut anywhere."""

    __slots__ = ("_pictures", "_splitter")

    def __init__(self) -> None:
        self._splitter = ThinkingSplitter()
        self._pictures = PictureFilter()

    @property
    def holds_briefly(self) -> bool:
        """Whether something is held back that readers should see soon, if nothing follows: call `release` then."""
        return self._splitter.holds_briefly or self._pictures.holds_briefly

    def feed(self, delta: TextDelta, deltas: list[Delta]) -> None:
        """Add the deltas of the next piece to `deltas`."""
        text = delta.text
        if self._splitter.is_over:
            clear = self._pictures.feed(text)
            if clear is text:
                deltas.append(delta)
            elif clear:
                deltas.append(TextDelta(clear))
        else:
            thinking, text = self._splitter.feed(text)
            deltas += _deltas(thinking, self._pictures.feed(text))

    def release(self) -> list[Delta]:
        """What is held back briefly."""
        text = ""
        if self._splitter.holds_briefly:
            text = self._pictures.feed(self._splitter.release())
        if self._pictures.holds_briefly:
            text += self._pictures.rest()
        return _deltas("", text)

    def rest(self) -> list[Delta]:
        """All that is held back, once the text has ended."""
        thinking, text = self._splitter.rest()
        return _deltas(thinking, self._pictures.feed(text) + self._pictures.rest())


def _deltas(thinking: str, text: str) -> list[Delta]:
    deltas: list[Delta] = []
    if thinking:
        deltas.append(ReasoningDelta(thinking))
    if text:
        deltas.append(TextDelta(text))
    return deltas
