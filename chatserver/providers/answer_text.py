"""From the text that a model sends to the text of the answer: thinking in tags is told apart, pictures are replaced."""

from __future__ import annotations

from collections.abc import Iterator

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

    def feed(self, text: str) -> Iterator[Delta]:
        """The deltas of the next piece."""
        yield from self._deltas(*self._splitter.feed(text))

    def release(self) -> Iterator[Delta]:
        """What is held back briefly."""
        if self._splitter.holds_briefly:
            yield from self._deltas("", self._splitter.release())
        if self._pictures.holds_briefly and (text := self._pictures.rest()):
            yield TextDelta(text)

    def rest(self) -> Iterator[Delta]:
        """All that is held back, once the text has ended."""
        yield from self._deltas(*self._splitter.rest())
        if text := self._pictures.rest():
            yield TextDelta(text)

    def _deltas(self, thinking: str, text: str) -> Iterator[Delta]:
        if thinking:
            yield ReasoningDelta(thinking)
        if text and (clear := self._pictures.feed(text)):
            yield TextDelta(clear)
