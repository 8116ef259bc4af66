"""Pictures that models put into their answers: neither stored nor sent to readers, and never held in memory.

`PictureTrimmer` takes the bytes of pictures out of an event that is too long to be kept whole. `PictureFilter` puts
`[image]` in the place of pictures that stand in the text itself.
"""

from __future__ import annotations

import re

PLACEHOLDER = "[image]"
# How many bytes of pictures one response may hold. Passing them over costs time.
MAX_PICTURE_BYTES = 64 * 1024 * 1024


class TooLongError(Exception):
    """A line or an event of the stream, or a body, is longer than it may be"""


# The base64 of a `data:` URL, of a JSON string under a key that holds binary data, and of any string that begins as
# PNG, JPEG, GIF, WebP and SVG do. JSON may escape slashes and line ends. The quantifiers are possessive: each byte is
# looked at once.
_BASE64_IN_JSON = re.compile(
    rb'(;base64,|"(?:b64|b64_json|base64|bytes|data|image|image_base64|image_data|partial_image|partial_image_b64)"\s*:\s*"'
    rb'|"(?:iVBORw0KGgo|\\?/9j\\?/|R0lGOD|UklGR|PHN2Zy|PD94bWwg))'
    rb"(?:[A-Za-z0-9+/=_-]++|\\[/nr])++"
)


class PictureTrimmer:
    """Takes base64 out of JSON that is longer than `max_bytes`, and leaves the rest of the JSON as it is."""

    __slots__ = ("_left", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = MAX_PICTURE_BYTES

    def trim(self, data: bytes) -> bytes:
        """`data` without pictures. Raises TooLongError if it is still too long."""
        return self._trim(data, self._max_bytes)

    def trim_beginning(self, data: bytes | bytearray) -> bytes:
        """The same for the beginning of something that goes on; it may end within a picture.

        The result is much shorter than the bound, so that this is not called again for each of the next bytes.
        """
        return self._trim(data, self._max_bytes // 2)

    def _trim(self, data: bytes | bytearray, most_bytes: int) -> bytes:
        trimmed = _BASE64_IN_JSON.sub(rb"\1", data)
        self._left -= len(data) - len(trimmed)
        if len(trimmed) > most_bytes or self._left < 0:
            raise TooLongError
        return trimmed


# --- pictures in the text -----------------------------------------------------------------------------------

_FLAGS = re.IGNORECASE | re.ASCII
# The beginning of the URL of a picture, up to its data: base64, or percent-encoded.
_URL = re.compile(
    r"(?<![a-z0-9_])data:image/[\w.+-]{1,60}(?:;[\w.=+-]{1,60}){0,6}?(?:;(?P<base64>base64),|,(?=%))", _FLAGS
)
_BASE64 = re.compile(r"[A-Za-z0-9+/=_%-]*")
_PERCENT = re.compile(r"[\w.~*!;=&+/:@,?$#%-]*", re.ASCII)
# What may stand before the URL, and after its data: a picture in Markdown, or in HTML.
_MARKDOWN_BEFORE = r"(?:!|(?<=!))\[[^\[\]\n]{0,300}\]\([ \t]{0,9}<?"
_HTML_BEFORE = r"<img\b[^<>\n]{0,300}?\bsrc[ ]?=[ ]?[\"']?"
_BEFORE = re.compile(rf"(?:(?P<markdown>{_MARKDOWN_BEFORE})|(?P<html>{_HTML_BEFORE}))\Z", _FLAGS)
_MARKDOWN_AFTER = re.compile(r">?[ \t]{0,9}(?:\"[^\"\n]{0,300}\"|'[^'\n]{0,300}')?[ \t]{0,9}\)")
_HTML_AFTER = re.compile(r"[^<>\n]{0,600}>")
# How much of the text before a URL may belong to the picture, and how much after it.
_BEFORE_CHARS = 800
_AFTER_CHARS = 700
# The end of a text that may become a picture with what follows.
_BEGINNING = re.compile(
    rf"(?:{_MARKDOWN_BEFORE}|{_HTML_BEFORE}|(?<![a-z0-9_]))"
    r"(?:d|da|dat|data|data:|data:i|data:im|data:ima|data:imag|data:image"
    r"|data:image/[\w.+-]{0,60}(?:;[\w.=+-]{0,60}){0,7},?)\Z"
    r"|(?:!|(?<=!))\[[^\[\]\n]{0,300}(?:\](?:\([ \t]{0,9}<?)?)?\Z"
    r"|(?<![a-z0-9_])!\Z"  # a picture behind a letter is rare, and words end with this mark
    r"|<(?:i(?:m(?:g[^<>\n]{0,400})?)?)?\Z",
    _FLAGS,
)
_END = re.compile(r"(?<![a-z0-9_])(?:d|da|dat|data)\Z", _FLAGS)


class PictureFilter:
    """Puts `[image]` in the place of each picture of a text, with the Markdown or HTML around it.

    The text comes in pieces, cut anywhere. What may be the beginning of a picture is held back until it is clear; that
    is at most some hundred characters. The data of a picture is not kept.
    """

    __slots__ = ("_after", "_data", "_held", "_last")

    def __init__(self) -> None:
        self._held = ""
        self._last = ""  # the last character before that
        self._data: re.Pattern[str] | None = None  # the data of a picture is being passed over
        self._after: re.Pattern[str] | None = None  # this belongs to the picture, after its data

    @property
    def holds_briefly(self) -> bool:
        """Whether something is held back that is most probably no picture: a reader should not wait for it."""
        return bool(self._held) and "data:" not in self._held.lower()

    def feed(self, text: str) -> str:
        """The part of the text that is clear now."""
        if not (self._held or self._data or self._after or self._last == "!" or _is_suspicious(text)):
            self._last = text[-1:]
            return text
        at = len(self._last)
        text = self._last + self._held + text
        self._held = ""
        clear: list[str] = []
        while at < len(text):
            if self._data is not None:
                data = self._data.match(text, at)
                at = data.end() if data else at
                if at < len(text):
                    self._data = None
            elif self._after is not None:
                at = self._pass_after(text, at)
            else:
                at = self._find(text, at, clear)
        clear_text = "".join(clear)
        self._last = clear_text[-1:] or self._last
        return clear_text

    def rest(self) -> str:
        """What is held back, which is no picture, because nothing follows it (yet)."""
        held, self._held = self._held, ""
        self._last = held[-1:] or self._last
        self._after = None
        return held

    def _find(self, text: str, at: int, clear: list[str]) -> int:
        """Find a picture behind `at`, or hold back what may become one. Returns where to look next."""
        url = _URL.search(text, at)
        if url is None:
            beginning = _BEGINNING.search(text, max(at, len(text) - _BEFORE_CHARS))
            end = beginning.start() if beginning else len(text)
            clear.append(text[at:end])
            self._held = text[end:]
            return len(text)
        start = url.start()
        before = _BEFORE.search(text, max(at, start - _BEFORE_CHARS), start)
        if before is not None:
            self._after = _MARKDOWN_AFTER if before["markdown"] else _HTML_AFTER
            start = before.start()
        clear += (text[at:start], PLACEHOLDER)
        self._data = _BASE64 if url["base64"] else _PERCENT
        return url.end()

    def _pass_after(self, text: str, at: int) -> int:
        """Pass over what belongs to the picture behind its data, or hold back what may. Returns where to look next."""
        assert self._after is not None
        end = self._after.match(text, at)
        closing = ")" if self._after is _MARKDOWN_AFTER else ">"
        rest = text[at : at + _AFTER_CHARS]
        if end is None and len(rest) < _AFTER_CHARS and not {"\n", closing} & set(rest):
            self._held = rest
            return len(text)
        self._after = None
        return end.end() if end else at


def _is_suspicious(text: str) -> bool:
    """Whether a text may hold a picture, or end with the beginning of one."""
    if "!" in text and ("![" in text or text[-1] == "!"):
        return True
    if "<" in text and (text[-1] == "<" or "<i" in text or "<I" in text):
        return True
    if ":" in text and "data:" in text.lower():
        return True
    return text[-1:] in "dDaAtT" and _END.search(text, len(text) - 5) is not None
