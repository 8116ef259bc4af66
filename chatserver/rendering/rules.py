"""Changes to markdown-it's tokens before they become HTML: no word is lost, and the page's own rules are kept.

`add_to` adds these rules and those of the other modules. Each rule here except that of tables is a core rule of
markdown-it: it gets the state after parsing, and changes the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.common.utils import mdTrim
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_block.table import escapedSplit, getLine
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from chatserver.rendering import controls, footnotes, formulas, links

# Parsing options that the rules need: tokens for link reference definitions, and the definition of each link.
OPTIONS = {"inline_definitions": True, "store_labels": True}


# How much longer links by reference (`[label]`) may make a text than it is, in characters. Each repeats its definition.
FREE_EXPANSION_CHARS = 100_000


_TASK = re.compile(r"\[([ xX])\](?=\s|$)")


class AsWrittenError(Exception):
    """A text that is to be shown as it was written. The message says why."""


def add_to(parser: MarkdownIt) -> None:
    """Add all rules to a parser, behind its own."""
    parser.block.ruler.at("table", _table_with_all_cells, {"alt": ["paragraph", "reference"]})
    everywhere = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.before("fence", "formula", formulas.block, {"alt": everywhere})
    parser.block.ruler.before("reference", "footnote", footnotes.definition, {"alt": ["paragraph", "reference"]})
    parser.inline.ruler.before("escape", "formula", formulas.inline)
    parser.inline.ruler.before("link", "footnote", footnotes.mention)
    parser.inline.ruler.after("text", "bare_link", links.bare_link)
    parser.core.ruler.after("block", "depth", _refuse_depth)
    parser.core.ruler.push("expansion", _refuse_expansion)
    parser.core.ruler.push("definitions", _show_unused_definitions)
    parser.core.ruler.push("links", _settle_links)
    parser.core.ruler.push("hosts", _show_deceptive_hosts)
    parser.core.ruler.push("controls", controls.reveal_in_links)
    parser.core.ruler.push("footnotes", footnotes.settle)
    parser.core.ruler.push("tasks", _mark_tasks)
    parser.core.ruler.push("headings", _renumber_headings)
    parser.core.ruler.push("cells", _align_cells)


# --- blocks -----------------------------------------------------------------------------------------------


def _refuse_depth(state: StateCore) -> None:
    """Raises AsWrittenError if markdown-it may have left something out: a block is open on the last level but one."""
    deepest = state.md.options.maxNesting - 1
    if any(token.nesting == 1 and token.level >= deepest for token in state.tokens):
        raise AsWrittenError("nested too deeply")


def _refuse_expansion(state: StateCore) -> None:
    """Raises AsWrittenError if the links by reference make far more of the text than was written (as cmark does)."""
    room = max(FREE_EXPANSION_CHARS, len(state.src))
    for token in _children(state.tokens):
        if "label" in token.meta:
            room -= sum(len(str(value)) for value in token.attrs.values())
            if room < 0:
                raise AsWrittenError("its links repeat too much")


def _table_with_all_cells(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A table whose rows keep cells that the header does not have: their text goes into the last cell.

    GFM drops them (section 4.10); mostly their cause is a `|` that should have been escaped.
    """
    first = len(state.tokens)
    if not table(state, start, end, silent):
        return False
    cells: list[Token] = []
    for token in state.tokens[first:]:
        if token.type == "tr_open":
            cells = []
        elif token.type == "inline":
            cells.append(token)
        elif token.type == "tr_close" and cells[-1].map is not None:
            written = _cells_in(getLine(state, cells[-1].map[0]))
            if len(written) > len(cells):
                cells[-1].content = " | ".join(map(mdTrim, written[len(cells) - 1 :]))
    return True


def _cells_in(line: str) -> list[str]:
    cells = escapedSplit(mdTrim(line))
    return cells[0 if cells[0] else 1 : None if cells[-1] else -1]


def _show_unused_definitions(state: StateCore) -> None:
    """Show a link reference definition (`[label]: url "title"`) that no link uses: else readers would not see it."""
    used = {token.meta["label"] for token in _children(state.tokens) if "label" in token.meta}
    tokens: list[Token] = []
    for token in state.tokens:
        if token.type != "definition":
            tokens.append(token)
        elif token.meta["id"] in used:
            used.remove(token.meta["id"])  # the first definition of a label counts
        else:
            tokens += _shown_definition(token)
    state.tokens = tokens


def _shown_definition(definition: Token) -> list[Token]:
    label, url, title = (definition.meta[name] for name in ("label", "url", "title"))
    words = [_text(f"[{label}]: "), *_link(url, "", url), _text(f' "{title}"' if title else "")]
    return [
        Token("paragraph_open", "p", 1, block=True, map=definition.map),
        Token("inline", "", 0, block=True, children=words),
        Token("paragraph_close", "p", -1, block=True),
    ]


def headings_above(levels: Iterable[int]) -> tuple[int, ...]:
    """Of headings in their order, the levels of those that stand above what follows: each is deeper than the last."""
    above: list[int] = []
    for level in levels:
        while above and above[-1] >= level:
            above.pop()
        above.append(level)
    return tuple(above)


def _renumber_headings(state: StateCore) -> None:
    """Begin headings at h2, because the page has the h1, and skip no level: screen readers navigate by them.

    The text may be the continuation of another one: `headings` in the environment are the levels, as written, of the
    headings above it. Each heading notes in `above` which ones are above what follows it, itself included.
    """
    above: tuple[int, ...] = tuple(state.env.get("headings", ()))
    for token in state.tokens:
        if token.type == "heading_open":
            above = token.meta["above"] = headings_above((*above, int(token.tag[1])))
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, 1 + len(above))}"


def _align_cells(state: StateCore) -> None:
    """Align cells by an attribute: the page's Content-Security-Policy forbids styles."""
    for token in state.tokens:
        if token.type in ("th_open", "td_open") and "style" in token.attrs:
            token.attrs = {"align": str(token.attrs["style"]).removeprefix("text-align:")}


def _mark_tasks(state: StateCore) -> None:
    """Turn `[x]` and `[ ]` at the beginning of a list's item into checkboxes."""
    for before, paragraph, block in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if before.type != "list_item_open" or paragraph.type != "paragraph_open" or not block.children:
            continue
        first = block.children[0]
        found = _TASK.match(block.content)  # as it was written: without backslashes
        if found and first.type == "text" and first.content.startswith(found[0]):
            first.content = first.content[found.end() :]
            block.children.insert(0, Token("checkbox", "input", 0, meta={"checked": found[1] != " "}))


# --- within a block ---------------------------------------------------------------------------------------


def _settle_links(state: StateCore) -> None:
    for token in state.tokens:
        if token.children:
            token.children = list(_without_links_in_links(_without_links_to_nowhere(token.children)))


def _without_links_to_nowhere(tokens: Iterable[Token]) -> Iterator[Token]:
    """Show `[words]()`, a link that leads nowhere, as it was written."""
    open_links: list[Token] = []
    for token in tokens:
        if token.type == "link_open":
            open_links.append(token)
            yield token if token.attrs["href"] else _text("[")
        elif token.type == "link_close":
            yield token if open_links.pop().attrs["href"] else _text("]()")
        elif token.type == "image" and not token.attrs["src"]:
            yield _text(f"![{token.content}]()")
        else:
            yield token


def _without_links_in_links(tokens: Iterable[Token]) -> Iterator[Token]:
    """Turn images into links, except inside a link. A link without words shows its address."""
    depth = 0
    url, readable = "", False  # the address of the outermost open link
    for token in tokens:
        if token.type == "link_open":
            depth += 1
            if depth == 1:
                url, readable = str(token.attrs["href"]), False
                yield token
        elif token.type == "link_close":
            depth -= 1
            if depth == 0:
                if not readable:
                    yield _text(url)
                yield token
        elif token.type == "image":
            source, title = str(token.attrs["src"]), str(token.attrs.get("title", ""))
            words = _words(token.children or ()).strip() or source
            readable = True
            if depth == 0:
                yield from _link(source, title, words)
            else:
                yield _text(f"{words} ({title})" if title else words)
        else:
            readable = readable or bool(token.content.strip())
            yield token


def _show_deceptive_hosts(state: StateCore) -> None:
    """Tell behind the words of a link where it leads, if its host could be taken for another."""
    for block in state.tokens:
        if not block.children or not any(token.type == "link_open" for token in block.children):
            continue
        tokens: list[Token] = []
        host: str | None = None
        words = ""
        for token in block.children:
            if token.type == "link_open":
                host, words = links.deceptive_host(str(token.attrs["href"])), ""
            elif token.type == "link_close" and host is not None and host not in words:
                tokens.append(_text(f" ({host})"))
            words += token.content
            tokens.append(token)
        block.children = tokens


# --- tokens -----------------------------------------------------------------------------------------------


def _children(tokens: Iterable[Token]) -> Iterator[Token]:
    return (child for token in tokens for child in token.children or ())


def _words(tokens: Iterable[Token]) -> str:
    """The text of these tokens."""
    return "".join(
        _words(token.children) if token.children else "\n" if token.type.endswith("break") else token.content
        for token in tokens
    )


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _link(url: str, title: str, words: str) -> list[Token]:
    opening = Token("link_open", "a", 1, attrs={"href": url})
    if title:
        opening.attrs["title"] = title
    return [opening, _text(words), Token("link_close", "a", -1)]
