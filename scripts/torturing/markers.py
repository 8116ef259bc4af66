"""Marker words: each message, edit and answer bears one of its own, so that every text can be told from all others."""

from __future__ import annotations

import itertools
import re
import string

PATTERN = re.compile(r"zq[a-p]{8}qz")
_LETTERS = string.ascii_lowercase[:16]


class Markers:
    """Makes words that search takes for one word, and that no text holds by chance."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def new(self) -> str:
        number = next(self._numbers)
        return "zq" + "".join(_LETTERS[number >> shift & 15] for shift in range(28, -1, -4)) + "qz"


def found_in(text: str) -> set[str]:
    return set(PATTERN.findall(text))
