"""Markdown of a message that stands among others in one document: it ends where it ends, and forges nothing.

In a document, a message could swallow what follows (by a code block or an HTML comment that is left open), look like a
turn of the conversation (`## User`), or give other messages' words a link (`[label]: address`). Such places are written
in another way. All others stay exactly as they are.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

# Edits may make new places: a text is read again until there are none, at most so often.
_MAX_ROUNDS = 4
_MAX_NESTING = 20
# How much work a text may make in all rounds together, in characters that are read: about a microsecond each. A line
# costs more each time that it is tried: in ordinary texts that is a few times, in nested lists more often.
_MAX_WORK = 1_500_000
_WORK_OF_A_LINE = 40
# A longer text that has to be parsed is not even tried: it is to be read at least twice.
_MAX_PARSED_CHARS = 400_000
# Headings of messages stand below those of turns.
_TURN_LEVEL = 2

# What may stand before a block in its line: indentation, quotes, items of lists.
_BEFORE = r"[ \t>*+\-0-9.)]*"
_FENCE = re.compile(rf"^({_BEFORE})(`{{3,}}|~{{3,}})(.*)$", re.MULTILINE)
_RISKY = re.compile(rf"<[A-Za-z/!?]|\]:|^[ \t>*+\-0-9.)]{_BEFORE}#{{1,{_TURN_LEVEL}}}(?!#)", re.MULTILINE)
# A heading with nothing before it, and whether a line follows that may be in italics.
_HEADING = re.compile(rf"^#{{1,{_TURN_LEVEL}}}(?P<words>[ \t][^\n]*)?$(?P<after>(?=\s*[*_]))?", re.MULTILINE)
_UNDERLINE = re.compile(r"^[ \t>]*(?:=+|-+)[ \t]*$", re.MULTILINE)

# All that is looked for has one of these in it (or is a dash at the end), and most messages have none of them.
_SUSPICIOUS = ("`" * 3, "~" * 3, "<", "]:", "#", "\r", "=", "-\n", "- \n", "-  ", "-\t")

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_LINE_END = re.compile(r"\r\n?")
_DEFINITION = re.compile(r"\[(?:\\.|[^\[\]\\])+\]:", re.DOTALL)
# A run of backticks, an escaped character, an address in angle brackets, or the beginning of HTML.
_INLINE = re.compile(
    r"(?P<ticks>`+)|\\.|<(?:[A-Za-z][A-Za-z0-9+.-]{1,31}:[^<>\x00-\x20]*|[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+)>"
    r"|(?P<html><(?=[A-Za-z/!?]))",
    re.DOTALL,
)
_HTML_LINE = re.compile(r"\n<(?=[A-Za-z/!?])")
_TICKS = re.compile("`+")
_NO_LETTERS = re.compile(r"[\W_]+")
_ROLES = {"user", "assistant", "system"}
_EMPHASIS = re.compile(r"(\*|_)[^*_\n]+\1")

Edit = tuple[int, str]
"""A place in a text, and what is put in there."""


def contain(text: str) -> str:
    """The text as a part of a larger document. It ends without a newline only if the text does."""
    quickly = _contain_quickly(text)
    return _contain_slowly(text) if quickly is None else quickly


def _contain_slowly(text: str) -> str:
    if len(text) > _MAX_PARSED_CHARS:
        return _as_code(text)
    contained, work = text, _Work()
    for _ in range(_MAX_ROUNDS):
        try:
            edits, ending = _read(contained, work)
        except _TooHardError:
            break
        if not edits:
            return _ended(contained, ending)
        contained = _edited(contained, edits)
    return _as_code(text)


class _TooHardError(Exception):
    """A text is nested too deeply, or takes too long to read."""


class _Work:
    """What is left of the work that a text may make."""

    def __init__(self) -> None:
        self._left = _MAX_WORK

    def spend(self, units: int) -> None:
        """Raises _TooHardError if so much is not left."""
        self._left -= units
        if self._left < 0:
            raise _TooHardError


def _contain_quickly(text: str) -> str | None:
    """What `contain` gives, without parsing the text; None: it has to be parsed."""
    if not any(mark in text for mark in _SUSPICIOUS) and not text.endswith(("-", "- ")):
        return text
    if "\r" in text:
        return None
    open_fence, begin, outside = "", 0, []
    for found in _FENCE.finditer(text):
        before, marks, info = found.groups()
        if before:  # perhaps in a list or quote
            return None
        if not open_fence:
            if marks[0] == "~" or "`" not in info:
                open_fence = marks
                outside.append((begin, found.start()))
        elif marks[0] == open_fence[0] and len(marks) >= len(open_fence) and not info.strip(" \t"):
            open_fence, begin = "", found.end()
    if not open_fence:
        outside.append((begin, len(text)))
    if any(_RISKY.search(text, *part) or _has_underline(text, *part) for part in outside):
        return None
    headings = [found for part in outside for found in _HEADING.finditer(text, *part)]
    if any(found["after"] is not None or _is_role(found["words"] or "") for found in headings):
        return None
    return _ended(_edited(text, [(found.start(), "#" * _TURN_LEVEL) for found in headings]), open_fence)


def _is_role(words: str) -> bool:
    return _NO_LETTERS.sub("", words).casefold() in _ROLES


def _has_underline(text: str, begin: int, end: int) -> bool:
    """Whether a line could make a heading of the line before it."""
    for found in _UNDERLINE.finditer(text, begin, end):
        end_before = max(0, found.start() - 1)
        line_before = text[text.rfind("\n", 0, end_before) + 1 : end_before]
        if line_before.strip(" \t>"):
            return True
    return False


def _ended(text: str, ending: str) -> str:
    if not ending:
        return text
    return f"{text}{ending}" if text.endswith(("\n", "\r")) else f"{text}\n{ending}"


def _as_code(text: str) -> str:
    """The text as a code block, in which nothing has a meaning."""
    longest = max((len(found[0]) for found in _TICKS.finditer(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return _ended(f"{fence}\n{text}", fence)


def _edited(text: str, edits: Sequence[Edit]) -> str:
    parts, begin = [], 0
    for place, insertion in sorted(edits):
        parts += [text[begin:place], insertion]
        begin = place
    return "".join([*parts, text[begin:]])


# --- reading ----------------------------------------------------------------------------------------------


def _read(text: str, work: _Work) -> tuple[list[Edit], str]:
    """The edits that contain a text, and the line that ends it if its last block is open.

    It is parsed without HTML and without definitions of links: that is what it is when both are escaped. Raises
    _TooHardError.
    """
    work.spend(len(text))
    source = _LINE_END.sub("\n", text)
    tokens: list[Token] = []
    parser = _parser()
    parser.block.parse(source, parser, {"work": work}, tokens)
    if any(token.nesting == 1 and token.level >= _MAX_NESTING - 1 for token in tokens):
        raise _TooHardError
    edits = [edit for number, token in enumerate(tokens) for edit in _edits_of(source, tokens, number, token)]
    return _in_original(text, source, edits), _ending(source, tokens)


def _in_original(text: str, source: str, edits: Sequence[Edit]) -> list[Edit]:
    """Edits of `source`, whose lines end with \\n, as edits of the text."""
    if text == source:
        return list(edits)
    begins = [found.start() for found in re.finditer(r"^", source, re.MULTILINE)]
    lines = [found.start() for found in _LINE.finditer(text)]
    placed = []
    for place, insertion in edits:
        line = bisect_right(begins, place) - 1
        placed.append((lines[line] + place - begins[line], insertion))
    return placed


def _edits_of(source: str, tokens: Sequence[Token], number: int, token: Token) -> Iterator[Edit]:
    if token.type == "heading_open" and int(token.tag[1]) <= _TURN_LEVEL:
        yield _heading_edit(token, tokens, number)
    if token.type != "inline":
        return
    spans: list[tuple[int, int]] = token.meta["spans"]
    content = "\n".join(source[begin:end] for begin, end in spans)
    offsets = list(accumulate((end - begin + 1 for begin, end in spans), initial=0))
    if _DEFINITION.match(content):
        yield spans[0][0], "\\"
    for place in _html_in(content):
        line = bisect_right(offsets, place) - 1
        yield spans[line][0] + place - offsets[line], "\\"


def _heading_edit(token: Token, tokens: Sequence[Token], number: int) -> Edit:
    """A heading goes down two levels; one that looks like a turn's, or is underlined, becomes a line of text."""
    place: int = token.meta["begin"]
    if token.markup[0] != "#" or _looks_like_turn(tokens, number):
        return place, "\\"
    return place, "#" * _TURN_LEVEL


def _looks_like_turn(tokens: Sequence[Token], number: int) -> bool:
    """Whether a heading is that of a role, or is followed by a line in italics, as turns' times are."""
    after = tokens[number + 3 : number + 5]
    in_italics = len(after) == 2 and after[0].type == "paragraph_open" and _EMPHASIS.fullmatch(after[1].content)
    return _is_role(tokens[number + 1].content) or bool(in_italics)


def _html_in(content: str) -> Iterator[int]:
    """The places of `<` that begin HTML, outside of code. The lines have no indentation."""
    runs: dict[int, list[int]] = {}
    for run in _TICKS.finditer(content):
        runs.setdefault(len(run[0]), []).append(run.start())
    place = 0
    while (found := _INLINE.search(content, place)) is not None:
        place = found.end()
        if found["html"]:
            yield found.start()
        elif found["ticks"]:
            # Code ends at the next run of the same length. If there is none, the backticks are text.
            length = len(found["ticks"])
            same = runs.get(length, [])
            following = bisect_right(same, found.start())
            if following < len(same):
                begin, place = place, same[following] + length
                # A block of HTML that begins a line goes before code that goes over lines.
                yield from (line.start() + 1 for line in _HTML_LINE.finditer(content, begin, place))


def _ending(source: str, tokens: Sequence[Token]) -> str:
    """The line that closes a code block at the end; empty if none is open. In lists and quotes it ends with them."""
    last = tokens[-1] if tokens else None
    if last is None or last.type != "fence" or last.level or last.map is None:
        return ""
    lines = source.split("\n")[last.map[0] : last.map[1]]
    closing = re.fullmatch(r" {0,3}(`{3,}|~{3,})[ \t]*", lines[-1]) if len(lines) > 1 else None
    closed = closing is not None and closing[1].startswith(last.markup)
    return "" if closed else last.markup


# --- the parser -------------------------------------------------------------------------------------------


@cache
def _parser() -> MarkdownIt:
    """CommonMark's blocks. Each `inline` token has the places of its lines, each heading that of its mark."""
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import heading, lheading, paragraph

    def placed(rule: Any) -> Any:
        def placing(state: StateBlock, start: int, end: int, silent: bool) -> bool:
            found: bool = rule(state, start, end, silent)
            if found and not silent:
                opening, inline = state.tokens[-3:-1]
                assert inline.map is not None
                begins = [state.bMarks[line] + state.tShift[line] for line in range(start, state.line)]
                inline.meta["spans"] = [
                    (begin, state.eMarks[line]) for line, begin in zip(range(*inline.map), begins, strict=False)
                ]
                opening.meta["begin"] = begins[-1]  # the mark of a heading is in its last line
            return found

        return placing

    def count(state: StateBlock, _start: int, _end: int, _silent: bool) -> bool:
        """A rule that never applies: it ends the work on a text that takes too much of it."""
        state.env["work"].spend(_WORK_OF_A_LINE)
        return False

    parser = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING})
    parser.disable(["html_block", "reference"])
    parser.block.ruler.at("heading", placed(heading), {"alt": ["paragraph", "reference", "blockquote"]})
    parser.block.ruler.at("lheading", placed(lheading))
    parser.block.ruler.at("paragraph", placed(paragraph))
    parser.block.ruler.before("code", "count", count, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser
