"""The words of a text for the search: the same for stored texts, for queries, and for the hits of snippets.

Words are runs of letters and digits of any script. PostgreSQL's own parser finds e-mail addresses, file names and tags
instead, whose words are not found, and its idea of a letter depends on the locale of the database; so it gets only
words and blanks. Scripts without blanks between words are taken character by character: a phrase of them is found
wherever its characters follow each other. All words are folded.
"""

from __future__ import annotations

import re

from chatserver.storage.search.folding import fold

# Ranges for the brackets of a regular expression, which Python and PostgreSQL read alike.
BETWEEN_WORDS = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb-\u00bf\u00d7\u00f7"
    r"\u037e\u0387\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3\u05c6\u05f3\u05f4"  # Greek, Armenian, Hebrew
    r"\u060c\u060d\u061b-\u061f\u066a-\u066d\u06d4\u0700-\u070d"  # Arabic, Syriac
    r"\u0964\u0965\u0970\u0df4\u0e4f\u0e5a\u0e5b\u0f04-\u0f14\u104a-\u104f"  # Indic, Thai, Tibetan, Burmese
    r"\u1361-\u1368\u1680\u17d4-\u17da\u1800-\u180e"  # Ethiopic, Ogham, Khmer, Mongolian
    r"\u2000-\u206f\u20a0-\u20cf\u2190-\u25ff\u27c0-\u2bff\u2e00-\u2e7f"  # punctuation, money, arrows, mathematics
    r"\u3000-\u3004\u3008-\u3020\u3030\u303d\u30fb\ua4fe\ua4ff"  # Chinese, Japanese, Lisu
    r"\ufe00-\ufe1f\ufe30-\ufe6f\ufeff-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffff"
)
SINGLE_CHARACTERS = (
    r"\u0e01-\u0e4e\u0e81-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3"  # Thai, Lao, Burmese, Khmer
    r"\u2600-\u27bf\U0001f000-\U0001faff"  # pictures
    # Chinese, Japanese, Korean
    r"\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3031-\u303c\u3040-\u30fa\u30fc-\u312f\u31a0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
INDEXED_CHARS = 100_000
"""So much of a text is searched. A vector has at most 1 MiB, and a character takes at most 8 bytes of it."""

WORD = re.compile(f"[{SINGLE_CHARACTERS}]|[^{SINGLE_CHARACTERS}{BETWEEN_WORDS}]+")


def words_of(text: str) -> list[str]:
    """The folded words of a text in their order."""
    return WORD.findall(fold(text))
