"""Program text as HTML with Pygments' classes; which colours they have is the page's business."""

from __future__ import annotations

from functools import cache

from pygments import format as format_tokens
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_all_lexers, get_lexer_by_name
from pygments.token import STANDARD_TYPES

MAX_CHARS = 50_000
CLASSES = frozenset(filter(None, STANDARD_TYPES.values()))
"""The classes of the spans in it: `k` is a keyword, `s` a string, and so on."""


def highlight(code: str, language: str) -> str | None:
    """HTML that reads as `code` does; None where the language is not known, or the code longer than MAX_CHARS."""
    name = language.lower()
    if len(code) > MAX_CHARS or name not in _known_languages():
        return None
    try:
        tokens = list(get_lexer_by_name(name, stripnl=False, ensurenl=False).get_tokens(code))
    except Exception:  # there are hundreds of lexers, and no defect in one of them is worth an answer
        return None
    if "".join(text for _, text in tokens) != code:  # none shall add or drop anything
        return None
    html: str = format_tokens(tokens, HtmlFormatter(nowrap=True))
    return html


@cache
def _known_languages() -> frozenset[str]:
    """Names of all languages of Pygments itself; asked for another, it would look through all installed packages."""
    return frozenset(alias.lower() for _, aliases, _, _ in get_all_lexers(plugins=False) for alias in aliases)
