"""What a response holds, whatever its headers say: an event stream, one JSON body, or JSON line by line; no I/O."""

from __future__ import annotations

import json
from typing import Literal

from chatserver.providers.event_decoder import EventStreamDecoder, ServerEvent
from chatserver.providers.pictures import PictureTrimmer

MAX_LINE_BYTES = 1024 * 1024
# A whole answer in one JSON body, from a server that does not stream.
MAX_WHOLE_BYTES = 8 * 1024 * 1024
# What may be a whole body is parsed to see whether it is one, up to so many times the longest body.
_TRIALS = 4
_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"


class JsonDecoder:
    """Reads a body of JSON: one value of at most `max_bytes`, or one in each line.

    A value is an event as soon as it is complete, also if the connection stays open behind it.
    """

    __slots__ = ("_body", "_in_lines", "_max_bytes", "_trial_bytes", "_trimmer")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._trimmer = PictureTrimmer(max_bytes)
        self._body = bytearray()
        self._in_lines: bool | None = None  # None: neither the first value nor the first line is complete
        self._trial_bytes = _TRIALS * max_bytes

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The values that `chunk` completes. Raises TooLongError."""
        self._body += chunk
        if len(self._body) > self._max_bytes:
            self._body = bytearray(self._trimmer.trim_beginning(self._body))
        if self._in_lines is None and b"\n" in chunk:
            self._in_lines = _is_json(bytes(self._body.partition(b"\n")[0]))
        events = []
        if self._in_lines and b"\n" in chunk:
            lines, _, rest = bytes(self._body).rpartition(b"\n")
            self._body = bytearray(rest)
            # Behind a line of JSON there may come an event stream.
            events = [ServerEvent(_text(line.removeprefix(b"data:"))) for line in lines.split(b"\n") if line.strip()]
        if self._is_complete():
            events += self.end()
            self._in_lines = True
        return events

    def end(self) -> list[ServerEvent]:
        """The body, or its last line."""
        body, self._body = bytes(self._body), bytearray()
        return [ServerEvent(_text(body))] if body.strip() else []

    def _is_complete(self) -> bool:
        """Whether what has come is a whole value. This is not tried for ever: it would cost too much."""
        if not self._body[-16:].rstrip().endswith((b"}", b"]")):
            return False
        self._trial_bytes -= len(self._body)
        return self._trial_bytes >= 0 and _is_json(bytes(self._body))


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
