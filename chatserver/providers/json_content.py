"""Reading texts and numbers from JSON of any shape: servers differ, and no shape may fail an answer or lose text."""

from __future__ import annotations

import re
from typing import Any

from chatserver.providers.base import Delta, ReasoningDelta, TextDelta
from chatserver.providers.error_events import error_of_part

NO_DELTAS: tuple[Delta, ...] = ()

# Parts within parts are read so deep.
_MAX_DEPTH = 12
_WORDS_OF_A_TYPE = re.compile(r"[a-z]+")
# The types of parts whose text is the answer; a part without a type is one, too. A refusal is the model's text in place
# of an answer.
_TEXT_TYPES = frozenset(("text", "outputtext", "inputtext", "textdelta", "markdown", "refusal", "message", "content"))
# Where a part, or an object in place of a text, has its text.
_TEXT_KEYS = ("text", "content", "refusal", "value", "parts")
# Where an object that is thinking has its text.
_THOUGHT_KEYS = (
    "thinking",
    "reasoning",
    "reasoning_content",
    "reasoning_text",
    "text",
    "content",
    "summary",
    "value",
)


def content_deltas(content: Any) -> tuple[Delta, ...]:
    """Content as deltas: a text, a part such as `{"type": "text", "text": …}`, or a list of texts and parts.

    Text is the answer, and the text of parts whose type names thinking or reasoning is the model's thinking. Parts of
    other types are passed over. Raises AttemptError for a part that is an error.
    """
    if isinstance(content, str):
        return (TextDelta(content),) if content else NO_DELTAS
    if not content:
        return NO_DELTAS
    deltas: list[Delta] = []
    _collect(content, deltas, _MAX_DEPTH)
    return tuple(deltas)


def reasoning_deltas(reasoning: Any) -> tuple[Delta, ...]:
    """Thinking as deltas; all text in it is thinking, whatever the shape."""
    text = _flat(reasoning, _MAX_DEPTH)
    return (ReasoningDelta(text),) if text else NO_DELTAS


def count(number: Any) -> int | None:
    """A count of tokens; None if it is none."""
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return number if type(number) is int else None


def _collect(part: Any, deltas: list[Delta], depth: int) -> None:
    if isinstance(part, str):
        if part:
            deltas.append(TextDelta(part))
    elif isinstance(part, bool) or part is None or depth == 0:
        return
    elif isinstance(part, int | float):
        deltas.append(TextDelta(str(part)))
    elif isinstance(part, list):
        for inner in part:
            _collect(inner, deltas, depth - 1)
    elif isinstance(part, dict):
        _collect_part(part, deltas, depth)


def _collect_part(part: dict[str, Any], deltas: list[Delta], depth: int) -> None:
    if (error := error_of_part(part)) is not None:
        raise error
    kind = part.get("type")
    words = _WORDS_OF_A_TYPE.findall(kind.lower()) if isinstance(kind, str) else []
    if part.get("thought") is True or any(word.startswith(("think", "reason")) for word in words):
        deltas += reasoning_deltas(part)
        return
    if words and _TEXT_TYPES.isdisjoint(words):
        return
    if not words:
        deltas += reasoning_deltas(part.get("thinking") or part.get("reasoning"))
    for key in _TEXT_KEYS:
        if part.get(key):
            _collect(part[key], deltas, depth - 1)
            return


def _flat(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if depth == 0 or isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return "".join(_flat(inner, depth - 1) for inner in value)
    if isinstance(value, dict):
        return next(filter(None, (_flat(value.get(key), depth - 1) for key in _THOUGHT_KEYS)), "")
    return ""
