"""The names of people, who are told apart by them."""

from __future__ import annotations

import unicodedata


def same_name(name: str) -> str:
    """A name as names are compared: the same letter is the same, in whichever form of Unicode it was written."""
    return unicodedata.normalize("NFC", name.strip())
