"""The top-level blocks of a Markdown text: their tokens, and how much of the text each of them covers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from markdown_it.token import Token

from chatserver.rendering import formulas

# How markdown-it ends lines.
_LINE_END = re.compile(r"\r\n?|\n")
_TAKES_ITS_LINES = ("formula_block", "fence", "code_block")


@dataclass(frozen=True, slots=True)
class Block:
    """A top-level block, from its first line to the first line of the next one.

    `tokens`: markdown-it's. `text`: what it covers. `headings`: the levels, as written, of the headings that stand
    above what follows it: each is deeper than the one before it.
    """

    tokens: Sequence[Token]
    text: str
    headings: tuple[int, ...]


def split(tokens: Sequence[Token], text: str, headings: Sequence[int] = ()) -> list[Block]:
    """The blocks of a text, in order; together they cover all of it. A blank text has none.

    `tokens` are those of the whole text. `headings`: the levels of the headings above the text. What belongs to no line
    of the text, such as the list of footnotes, is a part of the last block.
    """
    begun: list[tuple[int, list[Token], tuple[int, ...]]] = []  # first line, tokens, headings
    above = tuple(headings)
    for group in _top_level(tokens):
        for token in group:
            above = token.meta.get("above", above)
        line = group[0].map
        if line is None and begun:
            begun[-1] = (begun[-1][0], [*begun[-1][1], *group], above)
        else:
            begun.append((line[0] if line else 0, group, above))
    starts = [0, *_places(text, [line for line, _, _ in begun[1:]]), len(text)]
    return [
        Block(group, text[start:end], levels)
        for (start, end), (_, group, levels) in zip(pairwise(starts), begun, strict=False)
    ]


def with_open_formula_last(blocks: Sequence[Block]) -> list[Block]:
    """The blocks of a text that may go on. What may turn out to be a part of a formula belongs to the last block."""
    behind = sum(len(block.text) for block in blocks)
    for place, block in enumerate(blocks):
        behind -= len(block.text)
        if behind > formulas.MAX_OPEN_CHARS:
            continue
        begun = [start for start, line in _open_lines(block, first=place == 0) if formulas.may_open(line)]
        if not begun:
            continue
        rest = "".join(each.text for each in blocks[place:])
        if any(formulas.is_open(rest, start) for start in begun):
            tokens = [token for each in blocks[place:] for token in each.tokens]
            return [*blocks[:place], replace(blocks[-1], tokens=tokens, text=rest)]
    return list(blocks)


def _open_lines(block: Block, *, first: bool) -> Iterator[tuple[int, str]]:
    """Where the lines of a block begin, and the lines, but for those that no formula to come can take.

    A paragraph takes any line, also behind the mark of a quote or list, a table does, and a line of `=` or `-` makes a
    heading of what is above it. `first`: it is the first block, which covers the blank lines before it.
    """
    number = 0 if first else (block.tokens[0].map or [0])[0]
    taken = {
        line for token in block.tokens if token.type in _TAKES_ITS_LINES and token.map for line in range(*token.map)
    }
    start = 0
    for end in [*(found.end() for found in _LINE_END.finditer(block.text)), len(block.text)]:
        if number not in taken:
            yield start, block.text[start:end]
        start, number = end, number + 1


def _top_level(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each element that is in no other one."""
    group: list[Token] = []
    depth = 0
    for token in tokens:
        group.append(token)
        depth += token.nesting
        if depth == 0:
            yield group
            group = []


def _places(text: str, lines: Sequence[int]) -> Iterator[int]:
    """Where these lines begin, counted from 0; they are in order."""
    ends = _LINE_END.finditer(text)
    line, place = 0, 0
    for wanted in lines:
        while line < wanted:
            line, place = line + 1, next(ends).end()
        yield place
