"""Search queries, parsed for PostgreSQL's text search."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from chatserver.storage.search.words import words_of

# The last word may be the beginning of a longer one if it has so many characters: one letter begins too many words.
MIN_PREFIX_CHARS = 2

_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
_PART = re.compile(r'((?<!\S)-)?(?:"([^"]*)("?)|([^\s"]+))')


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that follow each other. `goes_on`: the last one may be the beginning of a longer word."""

    words: tuple[str, ...]
    goes_on: bool = False

    def __str__(self) -> str:
        """In the syntax of `to_tsquery`. Words have no quotes in them."""
        ending = ":*" if self.goes_on else ""
        return "(" + " <-> ".join(f"'{word}'" for word in self.words) + ending + ")"


@dataclass(frozen=True, slots=True)
class Terms:
    """Matches texts with all of `wanted` and none of `unwanted`."""

    wanted: tuple[Phrase, ...]
    unwanted: tuple[Phrase, ...] = ()

    @property
    def tsquery(self) -> str:
        return _all_of([*map(str, self.wanted), *(f"!{phrase}" for phrase in self.unwanted)])

    @property
    def wanted_tsquery(self) -> str:
        """The wanted phrases, for ranking."""
        return _all_of(map(str, self.wanted))


def parse_terms(query: str) -> Terms:
    """Parse words, `"quoted phrases"`, `-unwanted` words and `-"unwanted phrases"`.

    The last word, unless it is quoted or unwanted, may be the beginning of a longer one. Words joined by anything but a
    blank are a phrase: `foo-bar`, `foo.bar`. Every query is valid: other characters are ignored, and a query without
    words matches nothing.
    """
    wanted, unwanted = [], []
    for part in _PART.finditer(query.translate(_QUOTES)):
        minus, quoted, closing, plain = part.groups()
        words = tuple(words_of(plain if quoted is None else quoted))
        if not words:
            continue
        if minus:
            unwanted.append(Phrase(words))
            continue
        is_last = part.end() == len(query.rstrip())
        wanted.append(Phrase(words, is_last and not closing and len(words[-1]) >= MIN_PREFIX_CHARS))
    return Terms(tuple(wanted), tuple(unwanted))


def _all_of(parts: Iterable[str]) -> str:
    return " & ".join(parts)
