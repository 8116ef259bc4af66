"""What somebody looks for, as PostgreSQL's text search takes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from chatserver.storage.search.folding import words_of

# The last word may be the beginning of one, if it is at least so long: a single letter begins too many words.
MIN_PREFIX_CHARS = 2

_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
_PART = re.compile(r'((?<!\S)-)?(?:"([^"]*)("?)|([^\s"]+))')


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that follow each other; `goes_on`: the last of them may be only the beginning of a word."""

    words: tuple[str, ...]
    goes_on: bool = False

    def __str__(self) -> str:
        """As `to_tsquery` takes it: a word has no quotes in it."""
        ending = ":*" if self.goes_on else ""
        return "(" + " <-> ".join(f"'{word}'" for word in self.words) + ending + ")"


@dataclass(frozen=True, slots=True)
class Terms:
    """All of `wanted` and none of `unwanted`."""

    wanted: tuple[Phrase, ...]
    unwanted: tuple[Phrase, ...] = ()

    @property
    def tsquery(self) -> str:
        return _all_of([*map(str, self.wanted), *(f"!{phrase}" for phrase in self.unwanted)])

    @property
    def wanted_tsquery(self) -> str:
        """What a text is the better for."""
        return _all_of(map(str, self.wanted))


def parse_terms(query: str) -> Terms:
    """Read words, `"quoted phrases"`, `-unwanted` words and `-"unwanted phrases"`.

    The last word, unless it is quoted or unwanted, may be the beginning of one. Words that something else than a blank
    joins are a phrase: `foo-bar`, `foo.bar`. Nothing is wrong: what is no word is passed over, and a query without
    words wants nothing.
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
