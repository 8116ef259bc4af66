"""How values stand in the lines that commands print."""

from __future__ import annotations

import json
import re
from datetime import datetime

from chatserver import logs
from chatserver.schema_types import format_time

_SIMPLE = re.compile(r"[^\s\"'=]+")


def word(value: object) -> str:
    """A value as one word. A text with blanks, quotes or `=` is quoted: no name can pass for another value."""
    if not isinstance(value, str):
        return logs.printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return value if _SIMPLE.fullmatch(value) and value.isprintable() else json.dumps(value)


def time_or(moment: datetime | None, otherwise: str) -> str:
    """A time, or what stands for none."""
    return otherwise if moment is None else format_time(moment)
