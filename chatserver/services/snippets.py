"""A short piece of a text that shows why it was found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from chatserver.schemas import SnippetPart
from chatserver.storage.search.folding import INDEXED_CHARS, WORD, normalized
from chatserver.storage.search.terms import Phrase

SNIPPET_CHARS = 200
# So much of it may stand before the first hit: one sees what it is about.
LEAD_CHARS = 60
# Among so many hits the piece with the most of them is looked for.
MAX_HITS = 200
ELLIPSIS = "…"


class _Hit(NamedTuple):
    begin: int
    end: int
    phrase: int


def make_snippet(text: str, phrases: Sequence[Phrase]) -> list[SnippetPart]:
    """The piece of `text` with the most of `phrases`, in parts that say whether they are a hit.

    White space becomes one blank. Where nothing is found, the text is shown from its beginning.
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
    """What there is of `phrases`, in the order of the text; hits do not overlap.

    A loop over words, not one regular expression: that would keep all other threads waiting over a long text.
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
