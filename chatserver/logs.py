"""The log on standard error: JSON lines, or text for people, without secrets.

A failed start prints one line and nothing else. So lines that are logged before the server is ready are held back, up
to a bound, until `release` or `discard` says how the start ended.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from tornado.web import RequestHandler

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that this context serves. Every line logged in the context has it."""

_HELD_LINES = 1_000
_HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

_access = logging.getLogger("chatserver.access")


# --- what must not be seen ---------------------------------------------------------------------------------

_SECRETS = (
    # a query value: ?token=…, &api_key=…, as in a request that Tornado logs with a traceback; the
    # bound keeps the search linear
    (re.compile(r"(?i)([?&;][\w.-]*(?:token|key|secret|passw|credential)[\w.-]{0,40}=)[^&;\s'\"#]+"), r"\1…"),
    # postgresql://user:password@host; greedy, since a password may hold an @
    (re.compile(r"(\w://[^\s:/@'\"]*:)[^\s/'\"]+@"), r"\1…@"),
    # libpq's other form
    (re.compile(r"(?i)(\bpassword=)('(?:[^'\\]|\\.)*'|[^\s'\"]+)"), r"\1…"),
    (re.compile(r"(?i)(\bBearer\s+)[\w.~+/=-]+"), r"\1…"),
)


def scrub(text: str) -> str:
    """The text without secrets: values of query parameters that sound like one, passwords in URLs, bearer
    tokens."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


# --- how a line looks --------------------------------------------------------------------------------------


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return {name: scrub(value) if isinstance(value, str) else value for name, value in fields.items()}


def _exception(record: logging.LogRecord) -> str | None:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append("".join(traceback.format_exception(*record.exc_info)).rstrip())
    if record.stack_info:
        parts.append(record.stack_info)
    return scrub("\n".join(parts)) if parts else None


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time level logger message`, `requestId` and `exception` if there is one, and the
    fields given as `extra={"fields": {…}}`. Pure ASCII, so that no locale can break it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": scrub(record.getMessage()),
        }
        line.update(_fields(record))
        if (identity := request_id.get()) is not None:
            line["requestId"] = identity
        if (exception := _exception(record)) is not None:
            line["exception"] = exception
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """For people: time, level, logger, message, fields, request id. Further lines are indented, so that no text of
    a client can pass for a line of the log."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {scrub(record.getMessage())}"
        line += "".join(f" {name}={value}" for name, value in _fields(record).items())
        if (identity := request_id.get()) is not None:
            line += f" [{identity}]"
        if (exception := _exception(record)) is not None:
            line += "\n" + exception
        return "\n    ".join(printable(part) for part in line.split("\n"))


def printable(text: str) -> str:
    """The text with invisible characters and line ends escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# --- where it goes -----------------------------------------------------------------------------------------


class _Output(logging.StreamHandler[TextIO]):
    """Writes lines to a stream. While `holding`, keeps the newest of them instead."""

    def __init__(self, stream: TextIO, *, hold: bool) -> None:
        super().__init__(stream)
        self.holding = hold
        self._held: deque[str] = deque(maxlen=_HELD_LINES)

    def emit(self, record: logging.LogRecord) -> None:  # the caller holds the handler's lock
        if not self.holding:
            super().emit(record)
            return
        try:
            self._held.append(self.format(record))
        except Exception:  # as in every handler of the standard library: a bad log call must do no harm
            self.handleError(record)

    def write_held(self) -> None:
        self.acquire()
        try:
            self.holding = False
            while self._held:
                self.stream.write(self._held.popleft() + self.terminator)
            self.flush()
        finally:
            self.release()


def configure(level: str, form: Literal["auto", "json", "text"], *, hold: bool = False) -> None:
    """Send the log of this process to standard error; a second call replaces what the first one set.

    `level` is the lowest level of our own lines; libraries log from `warning` on. `form` is `json`, `text`, or
    `auto`: text on a terminal, JSON elsewhere. With `hold` the lines wait for `release`; the oldest of more than 1,000
    are lost.
    """
    people = form == "text" or (form == "auto" and sys.stderr.isatty())
    output = _Output(sys.stderr, hold=hold)
    output.setFormatter(TextFormatter() if people else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [output]
    threshold: int = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(threshold, logging.WARNING))
    logging.getLogger("chatserver").setLevel(threshold)
    logging.captureWarnings(True)


def release() -> None:
    """Write the lines that were held back. From now on every line is written at once."""
    for output in _outputs():
        output.write_held()


def holding() -> bool:
    """Whether lines are held back: the start is not over."""
    return any(output.holding for output in _outputs())


def _outputs() -> list[_Output]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _Output)]


def log_request(handler: RequestHandler) -> None:
    """Log one request (Tornado's `log_function`), without its query, which may hold private text."""
    status = handler.get_status()
    if handler.request.path in _HEALTH_PATHS:  # a health check answers 503 every few seconds, which is no news
        level = logging.DEBUG
    elif status >= 500:
        level = logging.ERROR
    else:
        level = logging.INFO
    fields = {
        "method": handler.request.method,
        "path": handler.request.path,
        "status": status,
        "ms": round(1000 * handler.request.request_time(), 1),
    }
    _access.log(level, "request", extra={"fields": fields})
