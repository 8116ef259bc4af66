"""Snippets: a short piece of a text that shows why it was found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from chatserver.schemas import SnippetPart
from chatserver.storage.search.terms import Phrase
from chatserver.storage.search.words import INDEXED_CHARS, WORD, normalized

SNIPPET_CHARS = 200
# The most characters before the first hit.
LEAD_CHARS = 60
# Only the first hits are considered when the best piece is chosen.
MAX_HITS = 200
ELLIPSIS = "…"


class _Hit(NamedTuple):
    begin: int
    end: int
    phrase: int


def make_snippet(text: str, phrases: Sequence[Phrase]) -> list[SnippetPart]:
    """The piece of `text` with the most of `phrases`, in parts; each part says whether it is a hit.

    White space becomes one blank. If nothing is found, the snippet is the beginning of the text.
    """
    text = " ".join(normalized(text[:INDEXED_CHARS]).split())
    hits = _densest(list(islice(_hits(text, phrases), MAX_HITS)))
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


def _hits(text: str, phrases: Sequence[Phrase]) -> Iterator[_Hit]:
    """The places of `phrases` in the text, in order; they do not overlap.

    A loop over words, not one regular expression: over a long text that would block all other threads.
    """
    places = [match.span() for match in WORD.finditer(text)]
    words = [text[begin:end].lower() for begin, end in places]
    wanted = [[word.lower() for word in phrase.words] for phrase in phrases]
    complete: defaultdict[str, list[int]] = defaultdict(list)
    beginnings: list[int] = []
    for number, phrase in enumerate(phrases):
        if phrase.goes_on and len(phrase.words) == 1:
            beginnings.append(number)
        else:
            complete[wanted[number][0]].append(number)
    index = 0
    while index < len(words):
        for number in (*complete.get(words[index], ()), *beginnings):
            length = len(wanted[number])
            if _is_phrase(words[index : index + length], wanted[number], goes_on=phrases[number].goes_on):
                yield _Hit(places[index][0], places[index + length - 1][1], number)
                index += length
                break
        else:
            index += 1


def _is_phrase(words: Sequence[str], wanted: Sequence[str], *, goes_on: bool) -> bool:
    if not goes_on:
        return words == wanted
    return len(words) == len(wanted) and words[:-1] == wanted[:-1] and words[-1].startswith(wanted[-1])


def _densest(hits: Sequence[_Hit]) -> Sequence[_Hit]:
    """The hits of one snippet: the most different phrases, then the most hits, then the first ones."""
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
    """Where a snippet starts: at a word, not too far before its first hit."""
    begin = max(0, hit_begin - LEAD_CHARS)
    if begin == 0:
        return 0
    blank = text.find(" ", begin, hit_begin)
    return begin if blank < 0 else blank + 1


def _end(text: str, hit_end: int, limit: int) -> int:
    """Where a snippet ends: behind a word, after its last hit, and not after `limit`."""
    if limit >= len(text):
        return len(text)
    blank = text.rfind(" ", hit_end, limit + 1)
    return limit if blank < 0 else blank


def _merged(parts: Sequence[SnippetPart]) -> Iterator[SnippetPart]:
    """The parts, without empty ones; neighbours that are no hits are joined."""
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
