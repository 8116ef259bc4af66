"""Snippets: a short piece of a text that shows why it was found.

A text may be very long, and it is searched on a thread that others wait for. So it is read window by window, up to the
first one with a hit; only there the places of the hits are looked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from chatserver.graphemes import characters
from chatserver.schemas import SnippetPart
from chatserver.storage.search.folding import fold
from chatserver.storage.search.terms import Phrase
from chatserver.storage.search.words import INDEXED_CHARS, WORD

SNIPPET_CHARS = 200
# The most characters before the first hit.
LEAD_CHARS = 60
# Only the first hits are considered when the best piece is chosen.
MAX_HITS = 200
WINDOW_CHARS = 2_000
# A window ends between two words, the next one begins there. If there is no such place within so many characters, the
# two share these characters.
OVERLAP_CHARS = 400
# Before one of these a word ends, and none of them changes the character before it: white space, ASCII's punctuation,
# and the most frequent characters of the scripts without blanks.
_BETWEEN = re.compile(r"[\s!-/:-@\[-`{-~\u3001\u3002\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3\uff66-\uff9d]")
ELLIPSIS = "…"


class _Hit(NamedTuple):
    begin: int
    end: int
    phrase: int


class _Piece:
    """A piece of a text as it is shown, with white space evened out, and as it is compared: folded."""

    def __init__(self, text: str, begin: int, end: int) -> None:
        self.shown = " ".join(unicodedata.normalize("NFC", text[begin:end]).split())
        self.goes_before = begin > 0
        self.goes_on = end < len(text)
        # The first or the last word may be half a word.
        self.cuts_first_word = self.goes_before and not text[begin - 1].isspace()
        self.cuts_last_word = self.goes_on and not text[end].isspace()
        if self.shown.isascii():
            self.folded = self.shown.lower()
            self._begins: Sequence[int] = range(len(self.shown))
            self._ends: Sequence[int] = range(1, len(self.shown) + 1)
            return
        folded, begins, ends = [], [], []
        for first, behind in characters(self.shown):
            part = fold(self.shown[first:behind])
            folded.append(part)
            begins += [first] * len(part)
            ends += [behind] * len(part)
        self.folded = "".join(folded)
        self._begins, self._ends = begins, ends

    def words(self) -> Iterator[tuple[str, int, int]]:
        """The folded words, with the places where they begin and end in `shown`."""
        for word in WORD.finditer(self.folded):
            begin, end = word.span()
            if not (begin == 0 and self.cuts_first_word):
                yield word[0], self._begins[begin], self._ends[end - 1]


def make_snippet(text: str, phrases: Sequence[Phrase]) -> list[SnippetPart]:
    """A piece of `text` around the first hits, with the most of `phrases` that are near.

    Each part says whether it is a hit. White space becomes one blank. If nothing is found, the snippet is the beginning
    of the text.
    """
    text = text[:INDEXED_CHARS]
    for begin, end in _windows(text, phrases):
        piece = _Piece(text, begin, end)
        hits = _densest(list(islice(_hits(piece, phrases), MAX_HITS)))
        if hits:
            return _parts(piece, hits)
    return _parts(_Piece(text, 0, min(len(text), WINDOW_CHARS)), [])


def _windows(text: str, phrases: Sequence[Phrase]) -> Iterator[tuple[int, int]]:
    """The windows of the text in which one of `phrases` seems to be, with what can be shown before and after them."""
    needles = [f" {' '.join(phrase.words)}" + " " * (not phrase.goes_on) for phrase in phrases]
    # The last words of the windows before, each with the beginning of its window. A phrase may begin with them.
    carried: deque[tuple[str, int]] = deque(maxlen=max((len(phrase.words) for phrase in phrases), default=1) - 1)
    begin = read = 0
    # Folding makes some characters many. No more than INDEXED_CHARS are in the index.
    while begin < len(text) and read <= INDEXED_CHARS:
        border = begin + WINDOW_CHARS
        between = _BETWEEN.search(text, border, border + OVERLAP_CHARS)
        end = min(border + OVERLAP_CHARS, len(text)) if between is None else between.start()
        folded = fold(text[begin:end])
        words = [*carried, *((word, begin) for word in WORD.findall(folded))]
        joined = f" {' '.join(word for word, _ in words)} "
        if any(needle in joined for needle in needles):
            yield max(0, words[0][1] - 2 * LEAD_CHARS), min(end + SNIPPET_CHARS, len(text))
        read += len(folded)
        if end == len(text):
            return
        carried.extend(words)
        begin = end
        if between is None:
            begin = border
            carried.clear()


def _parts(piece: _Piece, hits: Sequence[_Hit]) -> list[SnippetPart]:
    text = piece.shown
    begin = _begin(text, hits[0].begin) if hits else 0
    end = _end(text, hits[-1].end if hits else 0, begin + SNIPPET_CHARS)
    parts = [SnippetPart(text=ELLIPSIS if begin > 0 or piece.goes_before else "", hit=False)]
    position = begin
    for hit in hits:
        parts.append(SnippetPart(text=text[position : hit.begin], hit=False))
        parts.append(SnippetPart(text=text[hit.begin : min(hit.end, end)], hit=True))
        position = min(hit.end, end)
    cut = end < len(text) or piece.goes_on
    parts.append(SnippetPart(text=text[position:end] + (ELLIPSIS if cut else ""), hit=False))
    return list(_merged(parts))


def _hits(piece: _Piece, phrases: Sequence[Phrase]) -> Iterator[_Hit]:
    """The places of `phrases` in the piece, in order; they do not overlap."""
    places = list(piece.words())
    words = [word for word, _, _ in places]
    complete: defaultdict[str, list[int]] = defaultdict(list)
    beginnings: list[int] = []
    for number, phrase in enumerate(phrases):
        if phrase.goes_on and len(phrase.words) == 1:
            beginnings.append(number)
        else:
            complete[phrase.words[0]].append(number)
    index = 0
    while index < len(words):
        for number in (*complete.get(words[index], ()), *beginnings):
            phrase = phrases[number]
            length = len(phrase.words)
            if index + length == len(words) and piece.cuts_last_word and not phrase.goes_on:
                continue
            if _is_phrase(words[index : index + length], phrase):
                yield _Hit(places[index][1], places[index + length - 1][2], number)
                index += length
                break
        else:
            index += 1


def _is_phrase(words: Sequence[str], phrase: Phrase) -> bool:
    wanted = list(phrase.words)
    if not phrase.goes_on:
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
