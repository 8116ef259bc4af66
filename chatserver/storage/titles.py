"""The title that a conversation takes from its first message."""

from __future__ import annotations

import re

from chatserver.graphemes import cut
from chatserver.storage.search.folding import INVISIBLE

AUTOMATIC_TITLE_CHARS = 60

# What readers do not see: white space, controls, characters without width, and the blank pattern of Braille.
_VISIBLE = re.compile(rf"[^\s\x00-\x1f\x7f-\x9f\u2800{INVISIBLE}]")
# At the ends of a title these have no meaning. Others may change the character before them.
_AT_THE_ENDS = "\u00ad\u200b\u2060\ufeff"


def first_line(content: str) -> str | None:
    """The first line in which a reader sees anything, cut to AUTOMATIC_TITLE_CHARS code points between what readers see
    as characters. None: there is no such line.
    """
    line = next((line for line in content.splitlines() if _VISIBLE.search(line)), None)
    return None if line is None else _stripped(cut(_stripped(line), AUTOMATIC_TITLE_CHARS))


def _stripped(line: str) -> str:
    before = ""
    while line != before:
        before, line = line, line.strip().strip(_AT_THE_ENDS)
    return line
