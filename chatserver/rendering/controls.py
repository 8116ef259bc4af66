"""Bidirectional controls: characters that nobody sees, and that change the order in which others are shown.

In code, and in the address or words of a link, they make readers see something else than what is there (see
CVE-2021-42574). There they are shown by their code points. Elsewhere they are left as they are: right-to-left languages
need them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from markdown_it.rules_core import StateCore
from markdown_it.token import Token

# Pygments' class for what should not be there.
CLASS = "err"

# Embeddings, overrides and isolates reach to the end of a paragraph; marks only change what is next to them.
_REACHING = "\u202a-\u202e\u2066-\u2069"
_MARKS = "\u200e\u200f\u061c"
_ANY = re.compile(f"[{_REACHING}{_MARKS}]")
_FAR = re.compile(f"([{_REACHING}])")
_ALL = re.compile(f"([{_REACHING}{_MARKS}])")


def contains(text: str) -> bool:
    """Whether there is a control in a text."""
    return _ANY.search(text) is not None


def reveal_in_html(html: str) -> str:
    """HTML of code with its controls made visible."""
    return _ANY.sub(lambda found: _span(found[0]), html)


def reveal_in_links(state: StateCore) -> None:
    """A core rule: controls become visible in links, and, beside links and code, those that reach there."""
    for block in state.tokens:
        kinds = {token.type for token in block.children or ()}
        if block.children and kinds & {"link_open", "code_inline"}:
            block.children = list(_revealed(block.children))


def _revealed(tokens: Iterable[Token]) -> Iterator[Token]:
    depth = 0
    for token in tokens:
        if token.type == "link_open":
            depth += 1
            if "title" in token.attrs:
                token.attrs["title"] = _ANY.sub(lambda found: _name(found[0]), str(token.attrs["title"]))
        depth -= token.type == "link_close"
        if token.type == "text":
            yield from _split(token, _ALL if depth else _FAR)
        else:
            yield token


def _split(token: Token, pattern: re.Pattern[str]) -> Iterator[Token]:
    for place, part in enumerate(pattern.split(token.content)):
        if part:
            yield Token("control" if place % 2 else "text", "", 0, content=part, level=token.level)


def render_control(tokens: Sequence[Token], index: int) -> str:
    """The HTML of a token `control`."""
    return _span(tokens[index].content)


def _span(control: str) -> str:
    return f'<span class="{CLASS}">{_name(control)}</span>'


def _name(control: str) -> str:
    return f"[U+{ord(control):04X}]"
