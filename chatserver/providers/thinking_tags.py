"""Telling the thinking of a model from its answer where both come as one text: `<think>…</think>`, then the answer."""

from __future__ import annotations

import enum
import re

_TAGS = ("think", "thinking")
_OPENING = tuple(f"<{tag}>" for tag in _TAGS)
# More white space than this is not held back.
_MAX_HELD_CHARS = 1_000


class _State(enum.Enum):
    BEFORE = "nothing but white space has come"
    THINKING_STARTS = "the opening tag has come"
    THINKING = "within the thinking"
    ANSWER_STARTS = "the closing tag has come"


class ThinkingSplitter:
    """Splits a text that comes in pieces, cut anywhere, into thinking and answer.

    Thinking is what stands between `<think>` and `</think>` at the start of the text; white space may come before. Its
    white space at both ends is dropped, and that before the answer. Without the closing tag all of it is thinking.
    `<thinking>` is known, too, and upper case. Such a tag anywhere else is text.
    """

    __slots__ = ("_close", "_held", "_state", "is_over")

    def __init__(self) -> None:
        self.is_over = False
        """Whether all that comes is the answer."""
        self._state = _State.BEFORE
        self._held = ""  # may be a part of a tag, or white space at the end
        self._close = ""

    @property
    def holds_briefly(self) -> bool:
        """Whether white space is held back before the first word: a reader should not wait for it."""
        return bool(self._held) and self._state is _State.BEFORE and not self._held.strip()

    def feed(self, text: str) -> tuple[str, str]:
        """The thinking and the answer that are clear now; the thinking comes first."""
        if self.is_over:
            return "", text
        text = self._held + text
        self._held = ""
        thinking = ""
        if self._state is _State.BEFORE:
            text, opened = self._open(text)
            if not opened:
                return "", text
        if self._state in (_State.THINKING_STARTS, _State.THINKING):
            thinking, text = self._think(text)
        if self._state is _State.ANSWER_STARTS:
            text = text.lstrip()
            if text:
                self.is_over = True
        return thinking, text

    def release(self) -> str:
        """White space that was held back, as a part of the answer. A tag may still follow."""
        held, self._held = self._held, ""
        return held

    def rest(self) -> tuple[str, str]:
        """What was held back, once the text has ended."""
        held, self._held = self._held, ""
        return (held.rstrip(), "") if self._state in (_State.THINKING_STARTS, _State.THINKING) else ("", held)

    def _open(self, text: str) -> tuple[str, bool]:
        """The text after the opening tag and True; or what of the text is clear now, and False."""
        start = text.lstrip()
        for tag, opening in zip(_TAGS, _OPENING, strict=True):
            if start[: len(opening)].lower() == opening:
                self._state = _State.THINKING_STARTS
                self._close = f"</{tag}>"
                return start[len(opening) :], True
        if len(text) <= _MAX_HELD_CHARS and any(opening.startswith(start.lower()) for opening in _OPENING):
            self._held = text
            return "", False
        self.is_over = True
        return text, False

    def _think(self, text: str) -> tuple[str, str]:
        """The thinking at the beginning of `text`, and the text after the closing tag."""
        if self._state is _State.THINKING_STARTS:
            text = text.lstrip()
            if not text:
                return "", ""
            self._state = _State.THINKING
        end = _find_tag(text, self._close)
        thinking, rest = text[:end], text[end:]
        if len(rest) >= len(self._close):
            self._state = _State.ANSWER_STARTS
            return thinking.rstrip(), rest[len(self._close) :]
        bare = thinking.rstrip()
        if len(thinking) - len(bare) > _MAX_HELD_CHARS:
            bare = thinking
        self._held = text[len(bare) :]
        return bare, ""


def _find_tag(text: str, tag: str) -> int:
    """Where `tag` begins in `text`, or its beginning at the end of `text`; else the length of `text`."""
    whole = re.compile(re.escape(tag), re.IGNORECASE | re.ASCII).search(text)
    if whole is not None:
        return whole.start()
    ends = range(max(0, len(text) - len(tag) + 1), len(text))
    return next((at for at in ends if tag.startswith(text[at:].lower())), len(text))
