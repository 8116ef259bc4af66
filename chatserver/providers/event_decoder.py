"""Decoding an event stream (WHATWG HTML, section 9.2) from bytes cut anywhere; no I/O."""

from __future__ import annotations

from typing import NamedTuple

from chatserver.providers.error_events import error_of_text
from chatserver.providers.pictures import PictureTrimmer, TooLongError


class ServerEvent(NamedTuple):
    """What a model sent at once: the data of an event with the event's name, or a JSON body, which has no name."""

    data: str
    name: str = ""


class EventStreamDecoder:
    """Turns the bytes of an event stream into its events.

    How the bytes are cut into `feed`s makes no difference. Lines may end with LF, CRLF or CR. Comments, the fields `id`
    and `retry`, and events without data are ignored. `BodyDecoder` removes a byte order mark. Bytes that are
    not UTF-8 become U+FFFD, as the standard says.
    Beyond the standard are the ways in which servers write that their stream has failed: an event named `error` counts
    without data, too; a field `error`, and a line that is no field (`{"error": …}`, `<html>`, `Internal Server Error`),
    is an event of its own.

    `max_line_bytes` bounds one line, and the data of one event, both without the pictures in them; so it bounds the
    memory of the decoder.
    """

    __slots__ = ("_after_cr", "_data", "_data_bytes", "_max_line_bytes", "_name", "_tail", "_trimmed", "_trimmer")

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._trimmer = PictureTrimmer(max_line_bytes)
        self._tail = bytearray()  # the incomplete line
        self._data: list[bytes] = []  # the data lines of the incomplete event
        self._data_bytes = 0
        self._trimmed = 0  # so many of the data lines are without pictures already
        self._name = ""
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that `chunk` completes. Raises TooLongError; the stream ends there."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._tail += chunk
            self._bound_tail()
            return []
        block = chunk[:end]
        if self._tail:
            block = bytes(self._tail) + block
            self._tail.clear()
        if end < len(chunk):
            self._tail += chunk[end:]
            self._bound_tail()
        if len(block) > self._max_line_bytes:
            lines = block[:-1].split(b"\n")
            return self._take(
                [line if len(line) <= self._max_line_bytes else self._trimmer.trim(line) for line in lines]
            )
        events: list[ServerEvent] = []
        parts = block.split(b"\n\n")
        rest = parts.pop()
        for part in parts:
            # Nearly all events are one line of data.
            if part.startswith(b"data: ") and b"\n" not in part and not (self._data or self._name):
                events.append(ServerEvent(part[6:].decode("utf-8", "replace")))
            else:
                events += self._take([*part.split(b"\n"), b""])
        if rest:
            events += self._take(rest[:-1].split(b"\n"))
        return events

    def end(self) -> list[ServerEvent]:
        """The event that the end of the stream completes: servers often omit its empty line."""
        lines = [bytes(self._tail), b""]
        self._tail.clear()
        return self._take(lines)

    def _bound_tail(self) -> None:
        if len(self._tail) > self._max_line_bytes:
            self._tail = bytearray(self._trimmer.trim_beginning(self._tail))

    def _take(self, lines: list[bytes]) -> list[ServerEvent]:
        events: list[ServerEvent] = []
        data = self._data
        for line in lines:
            if line.startswith(b"data:") or line == b"data":
                value = line[6:] if line[5:6] == b" " else line[5:]
                data.append(value)
                self._data_bytes += len(value) + 1
                if self._data_bytes > self._max_line_bytes:
                    self._trim_data()
            elif not line:
                if data or self._name:
                    self._dispatch(events)
            elif line.startswith(b"event:"):
                self._name = line[6:].decode("utf-8", "replace").strip()
            elif line.startswith(b"error:"):
                events.append(ServerEvent(line[6:].decode("utf-8", "replace").strip(), "error"))
            elif not line.startswith((b":", b"id:", b"retry:")):
                text = line.decode("utf-8", "replace")
                if text.startswith("{") or error_of_text(text, "") is not None:
                    events.append(ServerEvent(text))
        return events

    def _dispatch(self, events: list[ServerEvent]) -> None:
        data, name = self._data, self._name
        text = (data[0] if len(data) == 1 else b"\n".join(data)).decode("utf-8", "replace")
        data.clear()
        self._data_bytes = self._trimmed = 0
        if name:
            self._name = ""
        if text or name.lower() == "error":
            events.append(ServerEvent(text, name))

    def _trim_data(self) -> None:
        data = self._data
        for index in range(self._trimmed, len(data)):
            trimmed = self._trimmer.trim(data[index])
            self._data_bytes -= len(data[index]) - len(trimmed)
            data[index] = trimmed
        self._trimmed = len(data)
        if self._data_bytes > self._max_line_bytes:
            raise TooLongError
