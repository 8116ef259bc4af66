"""A cache of rendered texts in memory. The HTML of a text never changes."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

# The size of an entry besides its HTML, in characters.
ENTRY_CHARS = 300
# How long a text that could not be rendered is not tried again. The machine may only have been busy.
FAILURE_SECONDS = 60.0

Key = bytes


class _Entry(NamedTuple):
    html: str | None
    tried_at: float


class RenderedTexts:
    """Holds at most `max_chars` characters of HTML, then evicts the least recently used entries.

    `clock` gives seconds.
    """

    def __init__(self, max_chars: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_chars = max_chars
        self._clock = clock
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self.chars = 0

    def __len__(self) -> int:
        return len(self._entries)

    @staticmethod
    def key(text: str) -> Key:
        """The key of a text."""
        return hashlib.sha256(text.encode()).digest()

    def look_up(self, key: Key) -> str | None:
        """The HTML of a text; None: it could not be rendered. Raises KeyError if it was not tried, or not lately."""
        entry = self._entries[key]
        if entry.html is None and self._clock() >= entry.tried_at + FAILURE_SECONDS:
            raise KeyError(key)
        self._entries.move_to_end(key)
        return entry.html

    def keep(self, key: Key, html: str | None) -> None:
        """Keep the HTML of a text; None: it could not be rendered."""
        self._forget(key)
        self._entries[key] = _Entry(html, self._clock())
        self.chars += _size(html)
        while self.chars > self._max_chars:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: Key) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self.chars -= _size(entry.html)


def _size(html: str | None) -> int:
    return ENTRY_CHARS + len(html or "")
