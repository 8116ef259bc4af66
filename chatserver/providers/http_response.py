"""One HTTP/1.1 response, from bytes cut anywhere: its head, and its body without the framing; no I/O."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

from tornado.httputil import HTTPHeaders, HTTPInputError, parse_response_start_line

MAX_HEAD_BYTES = 64 * 1024
# Responses that come before the real one (RFC 9110, section 15.2).
_MOST_INTERIM = 10
_MAX_SIZE_LINE_BYTES = 256
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}(?=[\s;]|\Z)")
_DIGITS = re.compile(r"[0-9]{1,15}")
_WITHOUT_BODY = (204, 304)


class MalformedResponseError(Exception):
    """A response that is no HTTP/1.1"""


class _Framing(enum.Enum):
    """What says where the body ends (RFC 9112, section 6.3)."""

    CHUNKS = enum.auto()
    LENGTH = enum.auto()
    CLOSE = enum.auto()


class ResponseDecoder:
    """Decodes one response: `feed` for each piece of data, `end` when the connection is closed.

    `status` and `headers` hold once `has_head` is true. `complete`: the end of the body has come; what follows is
    ignored.
    """

    __slots__ = (
        "_after_chunk",
        "_framing",
        "_interim",
        "_left",
        "_unread",
        "complete",
        "has_head",
        "headers",
        "status",
    )

    headers: Mapping[str, str]

    def __init__(self) -> None:
        self.has_head = False
        self.complete = False
        self.status = 0
        self._framing = _Framing.CLOSE
        self._left = 0  # bytes until the end of the chunk, or of the body
        self._after_chunk = False  # the line end after a chunk is still to come
        self._unread = b""  # a part of the head, or of a line between chunks
        self._interim = 0

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body in `data`. Raises MalformedResponseError."""
        if not self.has_head:
            data = self._read_head(data)
        if self._framing is _Framing.CHUNKS:
            return self._read_chunks(data)
        if self._framing is _Framing.LENGTH:
            data = data[: self._left]
            self._left -= len(data)
            self.complete = self.has_head and self._left == 0
        return data

    def end(self) -> None:
        """The connection is closed, in order or not: that may be the end of the body."""
        if self.has_head and self._framing is _Framing.CLOSE:
            self.complete = True

    # --- the head -----------------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> bytes:
        """Read the head, if it is complete; what follows it."""
        at = max(0, len(self._unread) - 3)  # before that, there is no end
        data = self._unread + data
        while (end := _HEAD_END.search(data, at)) is not None and end.end() <= MAX_HEAD_BYTES:
            at = 0
            try:
                status, headers = _parse_head(data[: end.start()])
                data = data[end.end() :]
                if status >= 200:
                    self._begin_body(status, headers)
                    return data
            except HTTPInputError:
                raise MalformedResponseError from None
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise MalformedResponseError
        if len(data) > MAX_HEAD_BYTES:
            raise MalformedResponseError
        self._unread = data
        return b""

    def _begin_body(self, status: int, headers: HTTPHeaders) -> None:
        self._unread = b""
        self.has_head = True
        self.status, self.headers = status, headers
        coding, length = headers.get("Transfer-Encoding"), headers.get("Content-Length")
        if status in _WITHOUT_BODY:
            self._framing = _Framing.LENGTH
        elif coding is not None:
            if coding.strip().lower() != "chunked" or length is not None:
                raise MalformedResponseError
            self._framing = _Framing.CHUNKS
        elif length is not None:
            lengths = {each.strip() for each in length.split(",")}  # proxies double it
            if len(lengths) > 1 or not _DIGITS.fullmatch(length := lengths.pop()):
                raise MalformedResponseError
            self._framing, self._left = _Framing.LENGTH, int(length)

    # --- chunks -------------------------------------------------------------------------------------------

    def _read_chunks(self, data: bytes) -> bytes:
        """The content of the chunks (RFC 9112, section 7.1). Extensions and trailers are ignored."""
        if self._unread:
            data, self._unread = self._unread + data, b""
        pieces = []
        at, size = 0, len(data)
        while at < size and not self.complete:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    if data.startswith(b"\r\n", at):
                        at += 2
                    else:
                        self._after_chunk = True
                continue
            end = data.find(b"\n", at)
            if end < 0:
                if size - at > _MAX_SIZE_LINE_BYTES:
                    raise MalformedResponseError
                self._unread = data[at:]
                break
            self._read_line(data[at:end])
            at = end + 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_line(self, line: bytes) -> None:
        """Read the line end after a chunk, or the size of the next one."""
        if self._after_chunk:
            if line not in (b"\r", b""):
                raise MalformedResponseError
            self._after_chunk = False
            return
        digits = _CHUNK_SIZE.match(line)
        if digits is None:
            raise MalformedResponseError
        self._left = int(digits[0], 16)
        self.complete = self._left == 0


def _parse_head(head: bytes) -> tuple[int, HTTPHeaders]:
    """Raises HTTPInputError."""
    line, _, lines = head.decode("latin-1").lstrip("\r\n").partition("\n")
    return parse_response_start_line(line.rstrip("\r")).code, HTTPHeaders.parse(lines)
