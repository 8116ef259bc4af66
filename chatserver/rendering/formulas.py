r"""Formulas in Markdown: `\(…\)` and `$…$` within a line, `\[…\]` and `$$…$$` in lines of their own.

What stands in a formula is no Markdown: backslashes, underscores and asterisks reach the reader as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markdown_it.common.utils import escapeHtml
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType

from chatserver.rendering import controls, mathml

# How many characters of formulas become MathML in one text; the rest is shown as its source. A formula of one character
# costs as much as one of twenty.
MAX_TOTAL_CHARS = 50_000
FORMULA_CHARS = 20

_CLOSING = {r"\(": r"\)", r"\[": r"\]", "$$": "$$", "$": "$"}
_OPENING = re.compile(r"\\[(\[]|\$\$?")
# Letters and digits: a `$` beside them belongs to a price or a variable, as in `US$5` and `$HOME`.
_WORD = re.compile(r"[A-Za-z0-9]")
# Where a formula in lines of its own may begin, and how long it may be before its end is there.
_OPENING_LINE = re.compile(r"[ ]{0,3}(\\\[|\$\$)")
MAX_OPEN_CHARS = 4_000
# Brackets around words that were escaped to be brackets.
_MEANS_SOMETHING = re.compile(r"[\\^_=+<>{}*/|&()'!]")
_PROSE = re.compile(r"[a-z]{3}")
# A price with words behind it, and words in a row.
_PRICE = re.compile(r"[\d.,]+\s*[^\W\d_]*\s")
_SENTENCE = re.compile(r"[a-z]{2}\s+[a-z]{2}|^[\d.,]+(.*[a-z]{3}|\s+[(\[]?[a-z]{2})")


class Closings:
    """Where formulas end in a text. It is searched once, however many formulas are begun in it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: dict[str, tuple[int, int]] = {}

    def next(self, mark: str, start: int) -> int:
        """The place of the next mark from `start` on that is not escaped; -1: there is none."""
        begin, end = self._found.get(mark, (0, 0))  # a mark never stands at 0
        if begin <= start and (end == -1 or start <= end):
            return end
        place = self._text.find(mark, start)
        while place != -1 and self._is_escaped(place, start):
            place = self._text.find(mark, place + 1)
        self._found[mark] = (start, place)
        return place

    def _is_escaped(self, place: int, start: int) -> bool:
        before = self._text[max(start, place - 20) : place]
        return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def inline(state: StateInline, silent: bool) -> bool:
    """A rule of markdown-it: a formula within a line."""
    opened = _OPENING.match(state.src, state.pos)
    if opened is None:
        return False
    mark = opened[0]
    start = opened.end()
    closings = state.env.setdefault("closings", {})
    if state.src not in closings:
        closings.clear()
        closings[state.src] = Closings(state.src)
    end = closings[state.src].next(_CLOSING[mark], start)
    after = end + len(_CLOSING[mark])
    if end == -1 or after > state.posMax:
        return False
    latex = state.src[start:end]
    if mark == "$":
        if not _is_guarded(state.src, state.pos, end):
            return False
    elif not latex.strip() or state.src[after : after + 1] in ("(", "[") or not _is_formula(latex):
        return False
    if not silent:
        token = state.push("formula", "math", 0)
        token.content, token.markup = latex, mark
    state.pos = after
    return True


def _is_formula(latex: str) -> bool:
    return _MEANS_SOMETHING.search(latex) is not None or _PROSE.search(latex) is None


def _is_guarded(text: str, begin: int, end: int) -> bool:
    """Whether `$…$` is a formula, and not two prices: by pandoc's rule, and some more."""
    latex = text[begin + 1 : end]
    if not latex or latex[0].isspace() or latex[-1].isspace() or "\n" in latex:
        return False
    if (begin and _WORD.match(text[begin - 1])) or _WORD.match(text, end + 1) or text[end + 1 : end + 2] == "$":
        return False
    if (_PRICE.match(latex) and not _MEANS_SOMETHING.search(latex)) or ("\\" not in latex and _SENTENCE.search(latex)):
        return False
    return _is_formula(latex)


def block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A rule of markdown-it: a formula in lines of its own."""
    if state.is_code_block(start):
        return False
    begin = state.bMarks[start] + state.tShift[start]
    mark = state.src[begin : begin + 2]
    if mark not in (r"\[", "$$"):
        return False
    closings = state.env.setdefault("block_closings", Closings(state.src))
    place = closings.next(_CLOSING[mark], begin + 2)
    last = _line_of(state, place, start, end)
    if place == -1 or last is None or state.src[place + 2 : state.eMarks[last]].strip():
        return False
    if not _is_inside(state, start, last):
        return False
    latex = state.getLines(start, last + 1, state.sCount[start], False).strip()[2:-2]
    if not latex.strip() or not _is_formula(latex):
        return False
    if not silent:
        state.line = last + 1
        token = state.push("formula_block", "math", 0)
        token.block, token.content, token.markup, token.map = True, latex, mark, [start, last + 1]
    return True


def may_open(line: str) -> bool:
    """Whether a line begins as a formula in lines of its own does."""
    return _OPENING_LINE.match(line) is not None


def is_open(text: str, start: int) -> bool:
    """Whether the formula that begins at a line of a text may end in what follows it. Formulas may have blank lines."""
    found = _OPENING_LINE.match(text, start)
    if found is None or len(text) - found.end() > MAX_OPEN_CHARS:
        return False
    return Closings(text).next(_CLOSING[found[1]], found.end()) == -1


def _is_inside(state: StateBlock, start: int, last: int) -> bool:
    """Whether all lines from `start` to `last` belong to the list's item or quote that the first one is in."""
    # The line that ended the search before, and how far the item was indented then.
    outside, indent = state.env.get("formula_left", (0, 0))
    if start < outside <= last and state.blkIndent >= indent:
        return False
    for line in range(start + 1, last + 1):
        if state.sCount[line] < state.blkIndent and not state.isEmpty(line):
            state.env["formula_left"] = line, state.blkIndent
            return False
    return True


def _line_of(state: StateBlock, place: int, start: int, end: int) -> int | None:
    """The line of a place; None: it is not among the lines of the present block."""
    low, high = start, end
    if place < 0 or not start < end or place >= state.eMarks[end - 1] + 1:
        return None
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if state.bMarks[middle] <= place else (low, middle)
    return low


def render(tokens: Sequence[Token], index: int, env: EnvType) -> str:
    """The HTML of a formula: MathML, or its source as it was written."""
    token = tokens[index]
    latex, mark = token.content, token.markup
    env["formula_chars"] = env.get("formula_chars", 0) + FORMULA_CHARS + len(latex)
    shown = None
    if env["formula_chars"] <= MAX_TOTAL_CHARS and not controls.contains(latex):
        shown = mathml.convert(latex, display=mark in (r"\[", "$$"))
    if shown is None:
        written = controls.reveal_in_html(escapeHtml(f"{mark}{latex}{_CLOSING[mark]}"))
        shown = "<br>\n".join(line.strip() for line in written.split("\n"))
    return f"<p>{shown}</p>\n" if token.block else shown
