"""Markdown as HTML that is safe to put into a page.

CommonMark with tables, strikethrough, bare links, formulas, footnotes and task lists. HTML in the text is shown as
text, the result loads nothing, and malformed Markdown is shown as text, never dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml, unescapeAll
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from chatserver.rendering import blocks, controls, formulas, highlighting, links, mathml, rules
from chatserver.rendering.emphasis import CjkParserInline

# How deep blocks may be nested; a list takes two levels. The time for hostile brackets grows with it.
_MAX_NESTING = 40

# How deep elements may be nested. The sanitiser's stack does not bear a hundred thousand.
_MAX_DEPTH = 200
# The longest HTML, in characters, before the sanitiser adds to it.
_MAX_HTML_CHARS = 2_000_000

_TAG = re.compile(r"<(/?)([a-z0-9]+)")
_VOID = {"br", "hr", "input"}
_LANGUAGE = re.compile(r"[A-Za-z0-9_+#-][A-Za-z0-9_+#.-]*")
_LANGUAGE_CLASS = re.compile(rf"language-{_LANGUAGE.pattern}")


def render(text: str) -> str:
    """The HTML of a text, without a newline at its end.

    Headings begin at h2. An image becomes a link to it. Code bears `class="language-…"` and Pygments' classes, cells of
    tables `align`. A text that is nested too deeply, or would become too long, is shown as it was written.
    """
    return render_or_tell(text)[0]


def render_or_tell(text: str) -> tuple[str, str | None]:
    """The HTML of a text, and, if it shows the text as it was written, why; else None."""
    try:
        return "".join(html for html, _ in _rendered(text, ())).rstrip("\n"), None
    except rules.AsWrittenError as reason:
        return _as_written(text), f"shown as it was written: {reason}"


def render_blocks_or_tell(text: str, headings: Sequence[int]) -> tuple[str, str | None]:
    """The top-level blocks of a text that may go on, as JSON, and, if it is shown as it was written, why; else None.

    Each is `{"html", "chars", "headings"}`. What follows the text leaves all of them but the last as they are, apart
    from links by reference and footnotes. `chars`: how much of the text it covers, in UTF-16 code units. `headings`:
    the levels of the headings above what follows it; as an argument, of those above the text. The HTML of all blocks of
    a text, joined, is what `render` gives for it.
    """
    headings = rules.headings_above(headings)
    problem = None
    try:
        found = [
            {"html": html, "chars": _code_units(block.text), "headings": block.headings}
            for html, block in _rendered(text, headings, goes_on=True)
        ]
        if found:
            found[-1]["html"] = str(found[-1]["html"]).rstrip("\n")
    except rules.AsWrittenError as reason:
        found = [{"html": _as_written(text), "chars": _code_units(text), "headings": headings}]
        problem = f"shown as it was written: {reason}"
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")), problem


def warm_up() -> None:
    """Build what the first `render` would have to build."""
    _parser(), _cleaner()
    mathml.warm_up()


def _rendered(text: str, headings: Sequence[int], *, goes_on: bool = False) -> Iterator[tuple[str, blocks.Block]]:
    """The HTML of each block of a text. Raises AsWrittenError before the first."""
    parser = _parser()
    env = {"headings": headings}
    found = blocks.split(parser.parse(text, env), text, headings)
    if goes_on:
        found = blocks.with_open_formula_last(found)
    written = [parser.renderer.render(block.tokens, parser.options, env) for block in found]
    _check("".join(written))
    return ((_cleaner().clean(html), block) for html, block in zip(written, found, strict=True))


def _as_written(text: str) -> str:
    lines = escapeHtml(text.strip()).split("\n")
    return _cleaner().clean("<p>" + "<br>\n".join(lines) + "</p>")


def _code_units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


# --- Markdown ---------------------------------------------------------------------------------------------


class _Parser(MarkdownIt):
    """Accepts absolute web links and e-mail links only. Bare links have a scheme: not setup.py, not a@example.com."""

    def validateLink(self, url: str) -> bool:  # noqa: N802
        if not links.is_allowed(url):
            return False
        # An impossible host: the sanitiser would take the address away later, and the reader would lose it.
        return "href=" in _cleaner().clean(f'<a href="{escapeHtml(url)}"></a>')

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802
        """The text of a bare link: as it was written, but a deceptive host in ASCII."""
        return links.shown_address(link, self.normalizeLink(link))


class _Renderer(RendererHTML):
    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        code = tokens[idx].content
        found = _LANGUAGE.search(unescapeAll(tokens[idx].info))
        if found is None:
            return self.code_block(tokens, idx, options, env)
        html = controls.reveal_in_html(highlighting.highlight(code, found[0]) or escapeHtml(code))
        return f'<pre><code class="language-{found[0]}">{html}</code></pre>\n'

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:  # noqa: ARG002
        return f"<pre><code>{controls.reveal_in_html(escapeHtml(tokens[idx].content))}</code></pre>\n"

    def code_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:  # noqa: ARG002
        return f"<code>{controls.reveal_in_html(escapeHtml(tokens[idx].content))}</code>"

    def control(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:  # noqa: ARG002
        return controls.render_control(tokens, idx)

    def formula(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:  # noqa: ARG002
        return formulas.render(tokens, idx, env)

    formula_block = formula

    def footnote(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:  # noqa: ARG002
        return f"<sup>{tokens[idx].content}</sup>"

    def checkbox(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:  # noqa: ARG002
        words = 'checked aria-label="done"' if tokens[idx].meta["checked"] else 'aria-label="not done"'
        return f'<input type="checkbox" disabled {words}>'


@cache
def _parser() -> MarkdownIt:
    options = {"html": False, "breaks": True, "xhtmlOut": False, "maxNesting": _MAX_NESTING}
    parser = _Parser("commonmark", {**options, **rules.OPTIONS}, renderer_cls=_Renderer)
    parser.inline = CjkParserInline(parser.inline)
    parser.enable(["table", "strikethrough"])
    rules.add_to(parser)
    return parser


# --- safety -----------------------------------------------------------------------------------------------

_BLOCKS = {"p", "hr", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre"}
_TABLES = {"table", "thead", "tbody", "tr", "th", "td"}
_INLINE = {"a", "br", "code", "em", "input", "s", "span", "strong", "sup"}

TAGS = frozenset(_BLOCKS | _TABLES | _INLINE | mathml.TAGS)
ATTRIBUTES = {
    **mathml.ATTRIBUTES,
    "a": frozenset({"href", "title"}),
    "ol": frozenset({"start"}),
    "code": frozenset({"class"}),
    "input": frozenset({"aria-label", "checked", "disabled", "type"}),
    "span": frozenset({"class"}),
    "th": frozenset({"align"}),
    "td": frozenset({"align"}),
}
"""The sanitiser. Links get `target` and `rel`, whatever the text says."""


@cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=TAGS,
        clean_content_tags=frozenset(),
        attributes=ATTRIBUTES,
        attribute_filter=_filter_attribute,
        url_schemes=frozenset({"http", "https", "mailto"}),
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _check(html: str) -> None:
    """Raises AsWrittenError for HTML that would cost the sanitiser too much memory."""
    if len(html) > _MAX_HTML_CHARS:
        raise rules.AsWrittenError("its HTML is too long")
    depth = 0
    for end, tag in _TAG.findall(html):
        if tag not in _VOID:
            depth += -1 if end else 1
            if depth > _MAX_DEPTH:
                raise rules.AsWrittenError("nested too deeply")


def _filter_attribute(tag: str, name: str, value: str) -> str | None:
    """The value that an attribute keeps; None: the attribute is removed."""
    if tag in mathml.TAGS:
        return value if mathml.is_allowed(name, value) else None
    if name == "class" and tag == "code":
        return value if _LANGUAGE_CLASS.fullmatch(value) else None
    if name == "class":
        return " ".join(word for word in value.split() if word in highlighting.CLASSES) or None
    if name == "align":
        return value if value in ("left", "center", "right") else None
    return value
