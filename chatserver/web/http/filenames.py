"""File names of downloads: titles as names that every file system and header accepts."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from chatserver.graphemes import cut

# Most file systems take 255 bytes. Browsers add a number if the name exists.
MAX_NAME_BYTES = 150
FALLBACK = "conversation"

# Path separators, characters that Windows forbids or that are special in headers and shells (RFC 6266, section 4.3 and
# appendix D), control characters, and code points that are not characters.
_UNSAFE = re.compile(r'[/\\:*?"<>|%;$`\'~\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufff0-\uffff]')
# Characters that reverse the displayed order (`gpj.exe`), and other formatting that is not part of a word.
_INVISIBLE = re.compile(r"[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]")
# Windows takes these for devices, with any extension.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)
# RFC 8187, section 3.2.1: attr-char, without letters and digits
_ATTR_CHARS = "!#$&+-.^_`|~"


def content_disposition(title: str | None, extension: str) -> str:
    """A Content-Disposition with which browsers save the response under a title in any script (RFC 6266).

    Clients that do not know the extended notation get the ASCII characters of the name.
    """
    name = safe_name(title or "")
    decomposed = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = safe_name(decomposed)
    value = f'attachment; filename="{plain}.{extension}"'
    if name != plain:
        value += f"; filename*=UTF-8''{quote(f'{name}.{extension}', safe=_ATTR_CHARS)}"
    return value


def safe_name(title: str) -> str:
    """A name for a file, without extension: never empty, never hidden, never a path, of at most `MAX_NAME_BYTES`."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", title))
    text = " ".join(_UNSAFE.sub(" ", text).split())
    text = cut(text, MAX_NAME_BYTES, lambda character: len(character.encode())).strip(" .-")
    if _DEVICE.match(text):
        text = f"{FALLBACK} {text}"
    return text or FALLBACK
