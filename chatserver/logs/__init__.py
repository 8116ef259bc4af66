"""The log on standard error: JSON lines, or text for people, without secrets.

A failed start prints one line and nothing else. So lines that are logged before the server is ready are held back, up
to a bound, until `release` says that the start is over. A running server writes in the background: a standard error
that takes nothing does not stop it. Lines that come too often are counted.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from typing import Literal

from chatserver.logs.lines import LINE_BYTES, JsonFormatter, TextFormatter, printable, request_id, without_request
from chatserver.logs.output import Output
from chatserver.logs.repeats import ACCESS_LOGGER
from chatserver.logs.requests import request_line
from chatserver.logs.scrubbing import scrub

__all__ = [
    "LINE_BYTES",
    "JsonFormatter",
    "TextFormatter",
    "catch_unhandled",
    "close",
    "configure",
    "holding",
    "log_request",
    "lost_lines",
    "printable",
    "release",
    "request_id",
    "scrub",
    "tell_terminal",
    "without_request",
]

# How long the end of the process may wait for a standard error that takes nothing.
CLOSE_SECONDS = 2.0

_access = logging.getLogger(ACCESS_LOGGER)
_unexpected = logging.getLogger("chatserver")


def configure(level: str, form: Literal["auto", "json", "text"], *, hold: bool = False) -> None:
    """Send the log of this process to standard error; a second call replaces what the first one set.

    `level` is the lowest level of our own lines; libraries log from `warning` on. `form` is `json`, `text`, or
    `auto`: text on a terminal, JSON elsewhere. With `hold` the lines wait for `release`; the oldest of more than 1,000
    are lost.
    """
    people = form == "text" or (form == "auto" and sys.stderr.isatty())
    output = Output(sys.stderr, hold=hold)
    output.setFormatter(TextFormatter() if people else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [output]
    threshold: int = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(threshold, logging.WARNING))
    logging.getLogger("chatserver").setLevel(threshold)
    logging.captureWarnings(True)


def release(*, background: bool = False) -> None:
    """Write the lines that were held back. From now on every line is written at once.

    `background`: a thread writes them, until `close`.
    """
    for output in _outputs():
        output.release_held(background=background)


def holding() -> bool:
    """Whether lines are held back: the start is not over."""
    return any(output.holding for output in _outputs())


def tell_terminal(lines: Iterable[str]) -> None:
    """Write lines for a person who watches, as they are, if standard error is a terminal."""
    if sys.stderr.isatty():
        for output in _outputs():
            for line in lines:
                output.put_text(line)


def close() -> None:
    """Write what waits in the background, for CLOSE_SECONDS at most. May be called again."""
    for output in _outputs():
        output.finish(CLOSE_SECONDS)


def lost_lines() -> int:
    """How many lines were lost because standard error took nothing."""
    return sum(output.lost for output in _outputs())


def _outputs() -> list[Output]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, Output)]


def catch_unhandled() -> None:
    """Have what Python reports on its own logged. It would write to standard error, which may block."""
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_failure


def _log_unraisable(failure: sys.UnraisableHookArgs) -> None:
    _unexpected.error("%s: %r", failure.err_msg or "Exception ignored in", failure.object, exc_info=failure.exc_value)


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    name = failure.thread.name if failure.thread is not None else "a thread"
    _unexpected.error("%s failed", name, exc_info=failure.exc_value)


def log_request(method: str, path: str, status: int, seconds: float, *, served: bool = True) -> None:
    """Log a request that ends now, without its query, which may hold private text. `served`: by a handler.

    Where lines are written in the background, the line is made there, too.
    """
    line = request_line(method, path, status, seconds, served=served)
    if not _access.isEnabledFor(line.level):
        return
    handlers = logging.getLogger().handlers
    # If others listen, too, as tests do, the line goes the ordinary way, which serves all of them.
    only = handlers[0] if len(handlers) == 1 else None
    if not (isinstance(only, Output) and only.put_request(line)):
        _access.handle(line.record())
