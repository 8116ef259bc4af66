"""Lines that come too often are counted, not told one by one: refused requests, and one warning again and again."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import dataclass

ACCESS_LOGGER = "chatserver.access"

# Of the lines of one kind so many are told in so many seconds. A traceback of a child process is 30 lines.
TOLD_REFUSALS = 20
TOLD_WARNINGS = 50
WINDOW_SECONDS = 5.0
# The most kinds that are counted apart from each other.
MAX_KINDS = 500


@dataclass(slots=True)
class _Kind:
    first: logging.LogRecord
    since: float
    lines: int = 0
    untold: int = 0


class Repeats:
    """Counts lines by their kind. A kind is a status of requests, or the text of a warning without its arguments.

    Requests that were carried out, and lines below `warning`, are always told. Not safe for several threads.
    """

    def __init__(self) -> None:
        self._kinds: dict[Hashable, _Kind] = {}

    def tell(self, record: logging.LogRecord, now: float) -> bool:
        """Whether the line is told, rather than counted."""
        key, told = _kind_of(record)
        if key is None:
            return True
        if key not in self._kinds and len(self._kinds) >= MAX_KINDS:
            key = "others"
        kind = self._kinds.setdefault(key, _Kind(record, now))
        kind.lines += 1
        if kind.lines <= told:
            return True
        kind.untold += 1
        return False

    @property
    def due(self) -> float | None:
        """When the next kind is to be summed up; None: there is nothing to sum up."""
        return min((kind.since + WINDOW_SECONDS for kind in self._kinds.values() if kind.untold), default=None)

    def sums(self, now: float, *, at_end: bool = False) -> list[logging.LogRecord]:
        """One line for each kind whose time is over and of which lines were not told. They are forgotten then.

        `at_end`: the time of all kinds is over.
        """
        over = [(key, kind) for key, kind in self._kinds.items() if at_end or now - kind.since >= WINDOW_SECONDS]
        for key, _ in over:
            del self._kinds[key]
        return [_sum(kind, now) for _, kind in over if kind.untold]


def _kind_of(record: logging.LogRecord) -> tuple[Hashable, int]:
    """The kind of a line, and how many of it are told. None: all."""
    if record.name == ACCESS_LOGGER:
        status = getattr(record, "fields", {}).get("status")
        refused = isinstance(status, int) and status >= 400
        return (record.name, record.levelno, status) if refused else None, TOLD_REFUSALS
    if record.levelno < logging.WARNING:
        return None, 0
    return (record.name, record.levelno, str(record.msg)[:200]), TOLD_WARNINGS


def _sum(kind: _Kind, now: float) -> logging.LogRecord:
    first = kind.first
    fields: dict[str, object] = {"count": kind.untold, "seconds": round(now - kind.since, 1)}
    if first.name == ACCESS_LOGGER:
        fields["status"] = getattr(first, "fields", {}).get("status")
        message = "further requests with this status"
    else:
        message = f"further lines like: {str(first.msg)[:200]}"
    record = logging.LogRecord(first.name, first.levelno, "", 0, message, None, None)
    record.fields = fields
    return record
