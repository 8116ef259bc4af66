"""What readers see as characters: one may be several code points (Unicode's UAX #29)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import regex

_CHARACTER = regex.compile(r"\X")


def characters(text: str) -> Iterator[tuple[int, int]]:
    """Where each character of a text begins and ends."""
    return (match.span() for match in _CHARACTER.finditer(text))


def cut(text: str, most: int, size: Callable[[str], int] = len) -> str:
    """The longest beginning of `text` that is whole characters and has at most the size `most`.

    A first character that is larger is cut between its code points: there is no bound to what one may have.
    """
    spans = characters(text)
    end = _end(text, spans, most, size) or _end(text, ((place, place + 1) for place in range(len(text))), most, size)
    return text[:end]


def _end(text: str, spans: Iterator[tuple[int, int]], most: int, size: Callable[[str], int]) -> int:
    end = total = 0
    for begin, behind in spans:
        total += size(text[begin:behind])
        if total > most:
            break
        end = behind
    return end
