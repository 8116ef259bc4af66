"""A short piece of a text that shows why it was found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from chatserver.schemas import SnippetPart
from chatserver.storage.search_terms import Phrase
from chatserver.storage.words import BETWEEN_WORDS, INDEXED_CHARS, SINGLE_CHARACTERS, normalized

SNIPPET_CHARS = 200
# So much of it may stand before the first hit: one sees what it is about.
LEAD_CHARS = 60
# Among so many hits the piece with the most of them is looked for.
MAX_HITS = 200
ELLIPSIS = "…"

_LETTER = f"[^{SINGLE_CHARACTERS}{BETWEEN_WORDS}]"
_SINGLE = re.compile(f"[{SINGLE_CHARACTERS}]")


class _Hit(NamedTuple):
    begin: int
    end: int
    phrase: int


def make_snippet(text: str, phrases: Sequence[Phrase]) -> list[SnippetPart]:
    """The piece of `text` with the most of `phrases` (at least one), in parts that say whether they are a hit.

    White space becomes one blank. Where nothing is found, the text is shown from its beginning.
    """
    text = " ".join(normalized(text[:INDEXED_CHARS]).split())
    matches = islice(_pattern(phrases).finditer(text), MAX_HITS)
    hits = _densest([_Hit(*match.span(), match.lastindex or 0) for match in matches])
    begin = _begin(text, hits[0].begin) if hits else 0
    end = _end(text, hits[-1].end if hits else 0, begin + SNIPPET_CHARS)
    parts = [SnippetPart(text=ELLIPSIS if begin > 0 else "", hit=False)]
    position = begin
    for hit in hits:
        parts.append(SnippetPart(text=text[position : hit.begin], hit=False))
        parts.append(SnippetPart(text=text[hit.begin : min(hit.end, end)], hit=True))
        position = min(hit.end, end)
    parts.append(SnippetPart(text=text[position:end] + (ELLIPSIS if end < len(text) else ""), hit=False))
    return list(_merged(parts))


def _pattern(phrases: Sequence[Phrase]) -> re.Pattern[str]:
    """A group for each phrase."""
    return re.compile("|".join(f"({_phrase_pattern(phrase)})" for phrase in phrases))


def _phrase_pattern(phrase: Phrase) -> str:
    words = phrase.words
    pattern = "" if _is_single(words[0]) else f"(?<!{_LETTER})"
    for word, following in pairwise(words):
        # What stands alone needs no blank beside it.
        some = "*" if _is_single(word) or _is_single(following) else "+"
        pattern += f"{_word_pattern(word)}[{BETWEEN_WORDS}]{some}"
    pattern += _word_pattern(words[-1])
    if phrase.goes_on:
        return f"{pattern}{_LETTER}*"
    return pattern if _is_single(words[-1]) else f"{pattern}(?!{_LETTER})"


def _word_pattern(word: str) -> str:
    # Only here: sets of characters are much slower where case is ignored.
    return f"(?i:{re.escape(word)})"


def _is_single(word: str) -> bool:
    return _SINGLE.fullmatch(word) is not None


def _densest(hits: Sequence[_Hit]) -> Sequence[_Hit]:
    """The hits of one snippet: of different phrases as many as possible, then as many as possible, then the first."""
    best, best_worth = hits[:0], (0, 0)
    inside: Counter[int] = Counter()
    end = 0
    for begin, first in enumerate(hits):
        beyond = first.begin + SNIPPET_CHARS - LEAD_CHARS
        while end < len(hits) and (end == begin or hits[end].end <= beyond):
            inside[hits[end].phrase] += 1
            end += 1
        worth = (len(inside), end - begin)
        if worth > best_worth:
            best, best_worth = hits[begin:end], worth
        inside[first.phrase] -= 1
        if not inside[first.phrase]:
            del inside[first.phrase]
    return best


def _begin(text: str, hit_begin: int) -> int:
    """Where a snippet begins: at a word, not too far before its first hit."""
    begin = max(0, hit_begin - LEAD_CHARS)
    if begin == 0:
        return 0
    blank = text.find(" ", begin, hit_begin)
    return begin if blank < 0 else blank + 1


def _end(text: str, hit_end: int, limit: int) -> int:
    """Where a snippet ends: at the end of a word, after its last hit and not after `limit`."""
    if limit >= len(text):
        return len(text)
    blank = text.rfind(" ", hit_end, limit + 1)
    return limit if blank < 0 else blank


def _merged(parts: Sequence[SnippetPart]) -> Iterator[SnippetPart]:
    """Without empty ones, and without two in a row that are no hit."""
    text = ""
    for part in parts:
        if part.hit and part.text:
            if text:
                yield SnippetPart(text=text, hit=False)
            yield part
            text = ""
        else:
            text += part.text
    if text:
        yield SnippetPart(text=text, hit=False)
