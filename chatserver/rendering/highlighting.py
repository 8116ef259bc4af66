"""Program text as HTML with Pygments' classes. The page gives them colours."""

from __future__ import annotations

from functools import cache

from pygments import format as format_tokens
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_all_lexers, get_lexer_by_name
from pygments.token import STANDARD_TYPES

MAX_CHARS = 50_000
CLASSES = frozenset(filter(None, STANDARD_TYPES.values()))
"""The classes of the spans: `k` is a keyword, `s` a string, and so on."""


def highlight(code: str, language: str) -> str | None:
    """The code as HTML; None if the language is not known, or the code is longer than MAX_CHARS."""
    name = language.lower()
    if len(code) > MAX_CHARS or name not in _known_languages():
        return None
    try:
        tokens = list(get_lexer_by_name(name, stripnl=False, ensurenl=False).get_tokens(code))
    except Exception:  # a defect in one of the hundreds of lexers must not cost the answer
        return None
    if "".join(text for _, text in tokens) != code:  # the lexer must neither add nor drop text
        return None
    html: str = format_tokens(tokens, HtmlFormatter(nowrap=True))
    return html


@cache
def _known_languages() -> frozenset[str]:
    """The names of Pygments' own languages. For others it would search all installed packages."""
    return frozenset(alias.lower() for _, aliases, _, _ in get_all_lexers(plugins=False) for alias in aliases)
