"""Decoding an event stream (WHATWG HTML, section 9.2), or a plain body, from bytes cut anywhere; no I/O."""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"


class TooLongError(Exception):
    """A line or an event of the stream, or a body, is longer than it may be"""


class EventStreamDecoder:
    """Turns the bytes of an event stream into the data of its events.

    How the bytes are cut into `feed`s makes no difference. Lines may end with LF, CRLF or CR. A leading BOM, comments,
    all fields but `data`, and events without data are ignored. Bytes that are not UTF-8 become U+FFFD, as the standard
    says.

    `max_line_bytes` bounds one line, and the data of one event; so it bounds the memory of the decoder.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_data_bytes", "_max_line_bytes", "_tail")

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._tail = bytearray()  # the incomplete line
        self._data: list[bytes] = []  # the data lines of the incomplete event
        self._data_bytes = 0
        self._at_start = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[str]:
        """The data of the events that `chunk` completes. Raises TooLongError; the stream ends there."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = chunk.rfind(b"\n")
        if end < 0:
            self._tail += chunk
            if len(self._tail) > self._max_line_bytes:
                raise TooLongError
            return []
        block = chunk[:end]
        if self._tail:
            block = bytes(self._tail) + block
        self._tail = bytearray(chunk[end + 1 :])
        lines = block.split(b"\n")
        if len(self._tail) > self._max_line_bytes or (
            len(block) > self._max_line_bytes and max(map(len, lines)) > self._max_line_bytes
        ):
            raise TooLongError
        return self._take(lines)

    def end(self) -> list[str]:
        """The data of an event that the end of the stream completes: servers often omit its empty line."""
        lines = [bytes(self._tail), b""]
        self._tail.clear()
        return self._take(lines)

    def _take(self, lines: list[bytes]) -> list[str]:
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        events = []
        data = self._data
        for line in lines:
            if line.startswith(b"data:") or line == b"data":
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data_bytes += len(value) + 1
                if self._data_bytes > self._max_line_bytes:
                    raise TooLongError
                data.append(value)
            elif not line and data:
                text = (data[0] if len(data) == 1 else b"\n".join(data)).decode("utf-8", "replace")
                data.clear()
                self._data_bytes = 0
                if text:
                    events.append(text)
        return events


class WholeBodyDecoder:
    """Reads a body that is not an event stream as one event of at most `max_bytes`."""

    __slots__ = ("_body", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._body = bytearray()

    def feed(self, chunk: bytes) -> list[str]:
        """No data yet. Raises TooLongError."""
        self._body += chunk
        if len(self._body) > self._max_bytes:
            raise TooLongError
        return []

    def end(self) -> list[str]:
        """The body as the data of one event."""
        return [self._body.decode("utf-8-sig", "replace")]
