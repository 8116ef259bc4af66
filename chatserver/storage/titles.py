"""The title that a conversation takes from its first message."""

from __future__ import annotations

import re

from chatserver.graphemes import cut
from chatserver.storage.search.folding import INVISIBLE

AUTOMATIC_TITLE_CHARS = 60

# What readers do not see: white space, controls, characters without width, and the blank pattern of Braille.
_VISIBLE = re.compile(rf"[^\s\x00-\x1f\x7f-\x9f\u2800{INVISIBLE}]")
# What `str.strip` removes; the last is U+3000.
WHITE_SPACE = "".join(filter(str.isspace, map(chr, range(0x3001))))
# At the ends of a title these have no meaning: white space, and some characters that are not seen. Others may change
# the character before them.
_AT_THE_ENDS = WHITE_SPACE + "\u00ad\u200b\u2060\ufeff"


def first_line(content: str) -> str | None:
    """The first line in which a reader sees anything, cut to AUTOMATIC_TITLE_CHARS code points between what readers see
    as characters. None: there is no such line.
    """
    line = next((line for line in content.splitlines() if _VISIBLE.search(line)), None)
    if line is None:
        return None
    title = line.strip(_AT_THE_ENDS)
    # Each new message comes through here. Within a line, ASCII has no characters of several code points.
    plain = title[: AUTOMATIC_TITLE_CHARS + 1].isascii()
    return (title[:AUTOMATIC_TITLE_CHARS] if plain else cut(title, AUTOMATIC_TITLE_CHARS)).strip(_AT_THE_ENDS)
