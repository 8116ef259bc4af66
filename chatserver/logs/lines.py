"""How a line of the log looks: a JSON object, or text for people. Without secrets, and of bounded length."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime
from functools import lru_cache

from chatserver.logs.scrubbing import scrub
from chatserver.origin import origin, share

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that this context serves. Every line logged in the context has it."""


def without_request() -> Context:
    """This context without its request: for a task that a request begins, and that goes on for others."""
    context = copy_context()
    context.run(request_id.set, None)
    context.run(origin.set, None)
    context.run(share.set, None)
    return context


# The longest line, its end left out. A line of text for people may have several lines, which are bounded together.
LINE_BYTES = 8_192
# Of a longer text only so much is looked at: a path may have 60,000 characters, a body more.
_TEXT_CHARS = 65_536
# Texts are cut to no less.
_SHORTEST_CHARS = 32


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time level logger message`, `requestId` and `exception` if there is one, and the
    fields given as `extra={"fields": {…}}`. Pure ASCII, so that no locale can break it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time_of(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
            **_fields(record),
        }
        if (identity := request_id.get()) is not None:
            line["requestId"] = identity
        if (exception := _exception(record)) is not None:
            line["exception"] = exception

        def build(chars: int) -> str:
            shown = {name: _cut(value, chars) if isinstance(value, str) else value for name, value in line.items()}
            return json.dumps(shown)

        whole = json.dumps(line)  # what most are: short enough
        return whole if len(whole) <= LINE_BYTES else _bounded(build)


class TextFormatter(logging.Formatter):
    """For people: time, level, logger, message, fields, request id. Further lines are indented, so that no text of
    a client can pass for a line of the log."""

    def format(self, record: logging.LogRecord) -> str:
        message, fields, exception = clean(record.getMessage()), _fields(record), _exception(record)

        def build(chars: int) -> str:
            line = f"{time_of(record.created)} {record.levelname:<7} {record.name}: {_cut(message, chars)}"
            line += "".join(f" {name}={_cut(str(value), chars)}" for name, value in fields.items())
            if (identity := request_id.get()) is not None:
                line += f" [{identity}]"
            if exception is not None:
                line += "\n" + _cut(exception, chars)
            return "\n    ".join(printable(part) for part in line.split("\n"))

        return _bounded(build)


def printable(text: str) -> str:
    """The text with invisible characters and line ends escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def time_of(created: float) -> str:
    """A time in seconds since the epoch, as lines have it."""
    seconds = int(created)
    return f"{_second(seconds)}.{int((created - seconds) * 1000):03d}Z"


@lru_cache(4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    """The fields of a line: texts, numbers, truth values and None. Everything else becomes a text."""
    fields: Mapping[str, object] = getattr(record, "fields", {})
    plain = (int, float, type(None))
    return {name: value if isinstance(value, plain) else clean(str(value)) for name, value in fields.items()}


def _exception(record: logging.LogRecord) -> str | None:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append("".join(traceback.format_exception(*record.exc_info)).rstrip())
    if record.stack_info:
        parts.append(record.stack_info)
    return clean("\n".join(parts)) if parts else None


# --- the bound ---------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """The text without secrets. Of a very long one only the first half of what is looked at is kept: a secret that
    the bound cuts in two is not recognised, and is in the other half."""
    if len(text) <= _TEXT_CHARS:
        return scrub(text)
    kept = scrub(text[:_TEXT_CHARS])[: _TEXT_CHARS // 2]
    return f"{kept}… ({len(text) - len(kept)} characters cut)"


def _cut(text: str, chars: int) -> str:
    """The beginning and the end of a text that is longer than `chars`: an exception's last line says what happened."""
    if len(text) <= chars:
        return text
    tail = chars // 3
    return f"{text[: chars - tail]}… ({len(text) - chars} characters cut) …{text[len(text) - tail :]}"


def _bounded(build: Callable[[int], str]) -> str:
    """The line that `build` makes of texts of at most so many characters each, cut until it fits."""
    chars = LINE_BYTES
    line = build(chars)
    while _bytes_of(line) > LINE_BYTES and chars > _SHORTEST_CHARS:
        chars //= 2
        line = build(chars)
    return line


def _bytes_of(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode("utf-8", "backslashreplace"))
