"""LaTeX formulas as MathML, which browsers show by themselves. Its elements and attributes are on short lists."""

from __future__ import annotations

import html
import re
from functools import cache
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

if TYPE_CHECKING:
    from latex2mathml.converter import Converter

# Longer formulas are shown as their source. A character takes about 25 microseconds.
MAX_CHARS = 5_000
_MAX_DEPTH = 60

# The elements, with the number of their children where it is fixed.
_CHILDREN: dict[str, int | None] = {
    "mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2, "munderover": 3,
    **dict.fromkeys(("menclose", "mi", "mn", "mo", "mpadded", "mphantom", "mrow", "mspace", "msqrt", "mstyle"), None),
    **dict.fromkeys(("mtable", "mtd", "mtext", "mtr"), None),
}  # fmt: skip
TAGS = frozenset({"math", "semantics", "annotation", *_CHILDREN})
# No colours: they would not fit a dark page, and could hide parts of a formula.
_WORDS = frozenset({
    "accent", "accentunder", "columnalign", "columnlines", "displaystyle", "fence", "form", "largeop", "mathvariant",
    "movablelimits", "notation", "rowlines", "scriptlevel", "separator", "stretchy",
})  # fmt: skip
_LENGTHS = frozenset({
    "columnspacing", "depth", "height", "linethickness", "lspace", "maxsize", "minsize", "rowspacing", "rspace",
    "voffset", "width",
})  # fmt: skip
_WORD = re.compile(r"[a-z0-9-]{1,20}( [a-z0-9-]{1,20}){0,50}")
# Not so long that a part of a formula could stand somewhere else on the page.
_LENGTH = re.compile(r"[+-]?(\d?(\.\d+)?(em|ex)|\d{0,2}(\.\d+)?(pt|px|mu)|0)")

# Commands that make others, or reach beyond the formula.
_REFUSED = re.compile(
    r"\\(def|gdef|edef|xdef|let|(re)?newcommand|providecommand|(re)?newenvironment|DeclareMathOperator|href|url|class"
    r"|cssId|id|style|unicode|require|includegraphics)(?![A-Za-z])"
)
_IGNORED = re.compile(r"\\(?:label\s*\{[^{}]*\}|(?:nonumber|notag)(?![A-Za-z]))")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([A-Za-z]+\*?)\}(?:\s*\[[tbc]\])?")
_COLUMN_COUNT = re.compile(r"(\\begin\s*\{x?alignat(?:ed)?\*?\})\s*\{[^{}]*\}")
# Environments that the converter does not know, as others: what `\begin` and what `\end` becomes.
_SAME_AS = {
    **dict.fromkeys(
        ("align", "aligned", "alignat", "alignat*", "alignedat", "flalign", "flalign*", "split", "xalignat"), "align*"
    ),
    **dict.fromkeys(("gather", "gather*", "gathered", "multline", "multline*", "multlined"), "matrix"),
    "dcases": "cases",
    "subarray": "array",
}
_REPLACED = {
    ("begin", "eqnarray"): r"\begin{array}{rcl}",
    ("begin", "eqnarray*"): r"\begin{array}{rcl}",
    ("end", "eqnarray"): r"\end{array}",
    ("end", "eqnarray*"): r"\end{array}",
    ("begin", "rcases"): r"\left.\begin{array}{ll}",
    ("end", "rcases"): r"\end{array}\right\}",
    ("begin", "equation"): "{",
    ("end", "equation"): "}",
    ("begin", "equation*"): "{",
    ("end", "equation*"): "}",
}
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_COMMAND = re.compile(r"\\[A-Za-z]")


class _UnreadableError(Exception):
    """A formula that cannot be shown."""


def convert(latex: str, *, display: bool) -> str | None:
    """A formula as MathML, with its source in it; None: it cannot be read. `display`: it stands in lines of its own."""
    if len(latex) > MAX_CHARS or _REFUSED.search(latex) or not _is_balanced(latex):
        return None
    source = _known(latex)
    try:
        row = _row(source, display)
        if display and any(child.get("linebreak") for child in row):
            # Lines without an environment: browsers do not break lines in MathML.
            name = "align*" if "&" in source else "matrix"
            row = _row(rf"\begin{{{name}}}{source}\end{{{name}}}", display)
        _settle(row, 0)
    except Exception:  # the converter raises whatever its code comes across
        return None
    math = Element("math", {"display": "block" if display else "inline"})
    semantics = SubElement(math, "semantics")
    semantics.append(row)
    SubElement(semantics, "annotation", {"encoding": "application/x-tex"}).text = latex
    return tostring(math, encoding="unicode", short_empty_elements=False)


def warm_up() -> None:
    """Load what the first formula would have to load."""
    _row(r"\alpha", display=False)


def is_allowed(name: str, value: str) -> bool:
    """Whether an attribute may stand in MathML."""
    if name == "display":
        return value in ("block", "inline")
    if name == "encoding":
        return value == "application/x-tex"
    if name in _WORDS:
        return _WORD.fullmatch(value) is not None
    return name in _LENGTHS and all(map(_LENGTH.fullmatch, value.split()))


ATTRIBUTES = {tag: _WORDS | _LENGTHS | {"display", "encoding"} for tag in TAGS}


def _is_balanced(latex: str) -> bool:
    """Whether each brace has its partner."""
    depth = 0
    for found in _BRACE.finditer(latex):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth < 0:
            return False
    return depth == 0


def _known(latex: str) -> str:
    """A formula in which environments that the converter does not know are others."""
    return _ENVIRONMENT.sub(_known_environment, _COLUMN_COUNT.sub(r"\1", _IGNORED.sub("", latex)))


def _known_environment(found: re.Match[str]) -> str:
    edge, name = found[1], found[2]
    return _REPLACED.get((edge, name), rf"\{edge}{{{_SAME_AS.get(name, name)}}}")


@cache
def _converter() -> type[Converter]:
    from latex2mathml.converter import Converter

    return Converter


def _row(latex: str, display: bool) -> Element:
    math = _converter()(display="block" if display else "inline").convert_to_element(latex)
    (row,) = math
    return row


def _settle(element: Element, depth: int) -> None:
    """Make an element safe, and its text what it stands for. Raises _UnreadableError if something is wrong with it."""
    if depth > _MAX_DEPTH or _CHILDREN[element.tag] not in (None, len(element)):
        raise _UnreadableError
    text = element.text or ""
    # Commands that the converter does not know, and what has no meaning where it stands.
    if _COMMAND.search(text) or text in ("&", "{", "}", "\\"):
        raise _UnreadableError
    element.text = html.unescape(text)
    element.attrib = {name: value for name, value in element.attrib.items() if is_allowed(name, value)}
    for child in element:
        _settle(child, depth + 1)
