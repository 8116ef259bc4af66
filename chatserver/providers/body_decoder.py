"""What a response holds, whatever its headers say: an event stream, one JSON body, or JSON line by line; no I/O."""

from __future__ import annotations

import json
from typing import Literal

from chatserver.providers.event_decoder import EventStreamDecoder, ServerEvent
from chatserver.providers.pictures import PictureTrimmer

MAX_LINE_BYTES = 1024 * 1024
# A whole answer in one JSON body, from a server that does not stream.
MAX_WHOLE_BYTES = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"


class JsonDecoder:
    """Reads a body of JSON as one event of at most `max_bytes`. If its first line is a whole value: line by line."""

    __slots__ = ("_body", "_in_lines", "_max_bytes", "_trimmer")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._trimmer = PictureTrimmer(max_bytes)
        self._body = bytearray()
        self._in_lines: bool | None = None  # None: the first line is not complete

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The lines that `chunk` completes; none if the body is one value. Raises TooLongError."""
        self._body += chunk
        if len(self._body) > self._max_bytes:
            self._body = bytearray(self._trimmer.trim_beginning(self._body))
        if self._in_lines is None and b"\n" in chunk:
            self._in_lines = _is_json(bytes(self._body.partition(b"\n")[0]))
        if not self._in_lines or b"\n" not in chunk:
            return []
        lines, _, rest = bytes(self._body).rpartition(b"\n")
        self._body = bytearray(rest)
        return [ServerEvent(_text(line)) for line in lines.split(b"\n") if line.strip()]

    def end(self) -> list[ServerEvent]:
        """The body, or its last line."""
        body, self._body = bytes(self._body), bytearray()
        return [ServerEvent(_text(body))] if body.strip() else []


class BodyDecoder:
    """Decodes a body as what it is: JSON if the first byte that is no blank is `{` or `[`, else an event stream.

    A byte order mark before it is ignored. `kind` is None until that byte has come.
    """

    __slots__ = ("_beginning", "_decoder", "kind")

    def __init__(self) -> None:
        self.kind: Literal["json", "stream"] | None = None
        self._beginning = b""
        self._decoder: EventStreamDecoder | JsonDecoder | None = None

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that `chunk` completes. Raises TooLongError; the body ends there."""
        if self._decoder is not None:
            return self._decoder.feed(chunk)
        beginning = self._beginning + chunk
        if _BOM.startswith(beginning):
            self._beginning = beginning
            return []
        # Some servers send blanks for as long as they work on the answer.
        self._beginning = b""
        beginning = beginning.removeprefix(_BOM).lstrip(_BLANKS)
        if not beginning:
            return []
        if beginning[0] in b"{[":
            self.kind, self._decoder = "json", JsonDecoder(MAX_WHOLE_BYTES)
        else:
            self.kind, self._decoder = "stream", EventStreamDecoder(MAX_LINE_BYTES)
        return self._decoder.feed(beginning)

    def end(self) -> list[ServerEvent]:
        """The event that the end of the body completes."""
        return [] if self._decoder is None else self._decoder.end()


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
