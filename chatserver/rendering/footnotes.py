"""Footnotes in Markdown: `[^label]` in the text, `[^label]: …` somewhere else.

They are numbered in the order of their first mention, and listed at the end. There are no links between mention and
note: they would need ids, and many texts stand on one page.
"""

from __future__ import annotations

import re

from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

_DEFINITION = re.compile(r"\[\^([^\s\[\]]{1,100})\]:[ \t]*")
_MENTION = re.compile(r"\[\^([^\s\[\]]{1,100})\]")
# How far the further blocks of a note are indented.
_INDENT = 4


def definition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A rule of markdown-it: the text of a note. Further blocks of it are indented."""
    if state.is_code_block(start):
        return False
    found = _DEFINITION.match(state.src, state.bMarks[start] + state.tShift[start], state.eMarks[start])
    if found is None:
        return False
    if silent:
        return True
    state.env.setdefault("footnotes", set()).add(found[1])
    opening = state.push("footnote_open", "", 1)
    opening.meta["label"], opening.map = found[1], [start, start]
    before = state.bMarks[start], state.tShift[start], state.sCount[start], state.blkIndent, state.parentType
    state.blkIndent += _INDENT
    state.bMarks[start], state.tShift[start], state.sCount[start] = found.end(), 0, state.blkIndent
    state.parentType = "footnote"
    state.md.block.tokenize(state, start, end)
    state.bMarks[start], state.tShift[start], state.sCount[start], state.blkIndent, state.parentType = before
    state.push("footnote_close", "", -1)
    return True


def mention(state: StateInline, silent: bool) -> bool:
    """A rule of markdown-it: the mention of a note, if there is one."""
    found = _MENTION.match(state.src, state.pos, state.posMax)
    if found is None or found[1] not in state.env.get("footnotes", ()):
        return False
    if not silent:
        state.push("footnote", "sup", 0).meta["note"] = found[1]
    state.pos = found.end()
    return True


def settle(state: StateCore) -> None:
    """A core rule: notes go to the end and are numbered. What nobody mentions stays where it is, with its label."""
    if "footnotes" not in state.env:
        return
    numbers: dict[str, int] = {}
    for token in (child for block in state.tokens for child in block.children or ()):
        if token.type == "footnote":
            token.content = f"[{numbers.setdefault(token.meta['note'], len(numbers) + 1)}]"
    notes: dict[str, list[Token]] = {}
    open_notes: list[tuple[Token | None, list[Token]]] = [(None, [])]
    for token in state.tokens:
        if token.type == "footnote_open":
            open_notes.append((token, []))
        elif token.type == "footnote_close":
            opening, tokens = open_notes.pop()
            label = opening.meta["label"] if opening else ""
            if label in numbers and label not in notes:
                notes[label] = tokens
            else:
                open_notes[-1][1].extend(_labelled(label, tokens, opening.map if opening else None))
        else:
            open_notes[-1][1].append(token)
    state.tokens = open_notes[0][1] + (_listed(sorted(notes, key=numbers.__getitem__), notes) if notes else [])


def _labelled(label: str, tokens: list[Token], lines: list[int] | None) -> list[Token]:
    words = Token("text", "", 0, content=f"[^{label}]: ")
    if tokens and tokens[0].type == "paragraph_open":
        tokens[1].children = [words, *(tokens[1].children or ())]
        return tokens
    return [
        Token("paragraph_open", "p", 1, block=True, map=lines),
        Token("inline", "", 0, block=True, children=[words]),
        Token("paragraph_close", "p", -1, block=True),
        *tokens,
    ]


def _listed(order: list[str], notes: dict[str, list[Token]]) -> list[Token]:
    tokens = [Token("hr", "hr", 0, block=True), Token("ordered_list_open", "ol", 1, block=True)]
    for label in order:
        tokens.append(Token("list_item_open", "li", 1, block=True))
        tokens += notes[label]
        tokens.append(Token("list_item_close", "li", -1, block=True))
    return [*tokens, Token("ordered_list_close", "ol", -1, block=True)]
