"""Host names that could be taken for others (homographs): the rules of browsers for showing them, made strict.

A label is readable if all its letters are of one script (Chinese, Japanese and Korean scripts count as one), and if it
does not consist of look-alikes of Latin letters alone (Unicode Technical Standard 39, sections 4 and 5).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_EAST_ASIAN = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "KATAKANA-HIRAGANA"}
# Scripts without letters that look Latin.
_PLAIN = {
    "ARABIC", "BENGALI", "DEVANAGARI", "ETHIOPIC", "GEORGIAN", "GUJARATI", "GURMUKHI", "HEBREW", "KANNADA", "KHMER",
    "LAO", "MALAYALAM", "MYANMAR", "ORIYA", "SINHALA", "TAMIL", "TELUGU", "THAANA", "THAI", "TIBETAN",
}  # fmt: skip
# Letters of other scripts that look like a Latin letter or a digit.
_LOOK_ALIKES = {
    "CYRILLIC": frozenset("асԁеһіјӏоԛрѕԝхуѵьгпкԍмтѡвнзбѐёїѝўөғҏҽ"),
    "GREEK": frozenset("αβγεηικνορςστυχωϲϳάέήίόύώϊϋΐΰ"),
}
# Latin letters beyond the accented ones that look like a plain letter.
_ODD_LATIN = frozenset("ıĸŉſɑɡɩʟ")


def is_deceptive(host: str) -> bool:
    """Whether a host in ASCII could be taken for another when its labels in punycode are made readable."""
    return any(not _is_readable(label) for label in host.lower().split(".") if label.startswith("xn--"))


@lru_cache(1024)
def _is_readable(label: str) -> bool:
    try:
        text = label.removeprefix("xn--").encode("ascii").decode("punycode")
    except (UnicodeError, ValueError):
        return False
    # Capitals, ligatures, and full-width letters are not what the name consists of.
    if text != unicodedata.normalize("NFKC", text).lower() or unicodedata.normalize("NFC", text) != text:
        return False
    scripts = {_script(character) for character in text} - {""}
    if scripts <= _EAST_ASIAN:
        return bool(scripts)
    if len(scripts) > 1:
        return False
    (script,) = scripts
    if script == "LATIN":
        return not any(character in _ODD_LATIN or 0x180 <= ord(character) < 0x1E00 for character in text)
    if script in _LOOK_ALIKES:
        letters = {character for character in text if character.isalpha()}
        return not letters <= _LOOK_ALIKES[script]
    return script in _PLAIN


def _script(character: str) -> str:
    """The script of a character, by its name; empty for what all scripts share, "?" for what no host name has."""
    if character in "-0123456789":
        return ""
    name = unicodedata.name(character, "?").split()[0]
    if unicodedata.category(character)[0] == "M" and name == "COMBINING":
        return "?"
    return name if unicodedata.category(character)[0] in "LMN" or name in _EAST_ASIAN else "?"
