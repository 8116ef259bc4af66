"""Reads event streams: by the rules of WHATWG HTML, "Server-sent events", frame by frame, and as a viewer of an answer.

`EventSource` is a browser's tolerant reader, `EventStream` the strict one of a connection that a test holds, `Viewer`
what is shown of an answer. All read lines with `LineReader`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from chatserver.sse import EventId, parse_event_id
from tests.kit.http_connection import Connection

_LINE_END = re.compile(r"\r\n|\n|\r")


class LineReader:
    """Splits the body of one connection into lines, as its pieces come."""

    def __init__(self) -> None:
        self.unended = ""
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._ended_by_return = False

    def feed(self, piece: bytes) -> Iterator[tuple[str, str] | None]:
        """Each line as field name and value (the name of a comment is empty), and None for an empty line."""
        text = self._decoder.decode(piece)
        if text:
            skipped = self._ended_by_return and text.startswith("\n")  # the second half of a line end
            self._ended_by_return = text.endswith("\r")
            *lines, self.unended = _LINE_END.split(self.unended + text[skipped:])
            for line in lines:
                name, _, value = line.partition(":")
                yield (name, value.removeprefix(" ")) if line else None


class Message(NamedTuple):
    """A message event that was dispatched."""

    type: str
    data: str
    last_event_id: str


@dataclass
class EventSource:
    """The state of one EventSource over its connections; `retry_ms` None: never told."""

    last_event_id: str = ""
    retry_ms: int | None = None

    def feed(self, stream: bytes) -> list[Message]:
        """The messages of one connection's whole body; a block without an empty line at its end is discarded."""
        messages: list[Message] = []
        id_buffer, type_buffer, data_buffer = self.last_event_id, "", ""
        for line in LineReader().feed(stream):
            match line:
                case None:
                    self.last_event_id = id_buffer
                    if data_buffer:
                        messages.append(Message(type_buffer or "message", data_buffer.removesuffix("\n"), id_buffer))
                    type_buffer = data_buffer = ""
                case "data", value:
                    data_buffer += value + "\n"
                case "event", value:
                    type_buffer = value
                case "id", value if "\0" not in value:
                    id_buffer = value
                case "retry", value if re.fullmatch("[0-9]+", value):
                    self.retry_ms = int(value)
                case _:
                    pass  # a comment, or an unknown field
        return messages


@dataclass
class Viewer:
    """Shows an answer by the contract: pieces are joined, `reset` drops the text so far."""

    text: str = ""
    thoughts: str = ""
    ends: list[dict[str, Any]] = field(default_factory=list)
    resets: int = 0
    source: EventSource = field(default_factory=EventSource)

    @property
    def last_id(self) -> EventId | None:
        """The Last-Event-ID of its next request."""
        if not self.source.last_event_id:
            return None
        event_id = parse_event_id(self.source.last_event_id)
        assert event_id is not None, self.source.last_event_id
        return event_id

    def see(self, stream: bytes) -> None:
        """Take in whole frames."""
        for message in self.source.feed(stream):
            assert message.type == "message"
            self.take(json.loads(message.data))

    def take(self, event: Any) -> None:
        """Take in the data of one event."""
        assert not self.ends, f"something follows the end: {event}"
        match event:
            case {"type": "token", "content": str(content)}:
                self.text += content
            case {"type": "reasoning", "content": str(content)}:
                self.thoughts += content
            case {"type": "reset"}:
                self.text = self.thoughts = ""
                self.resets += 1
            case {"type": "done" | "stopped" | "error"}:
                self.ends.append(event)
            case _:
                raise AssertionError(f"no event of the contract: {event}")


def text_of(events: Iterable[Any]) -> str:
    """The text that a client shows after these events."""
    viewer = Viewer()
    for event in events:
        viewer.take(event)
    return viewer.text


@dataclass(frozen=True)
class Frame:
    """One block of an event stream, as it came."""

    id: str | None
    data: Any
    retry: int | None
    comment: str | None

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Self:
        assert set(fields) <= {"", "id", "data", "retry"}, fields
        return cls(
            id=fields.get("id"),
            data=json.loads(fields["data"]) if "data" in fields else None,
            retry=int(fields["retry"]) if "retry" in fields else None,
            comment=fields.get(""),
        )


class EventStream:
    """An open event stream, read chunk by chunk: two equal fields in a frame, or an end within one, fail the test."""

    def __init__(self, connection: Connection, headers: Mapping[str, str]) -> None:
        self.connection = connection
        self.headers = headers
        self.last_id: str | None = None
        self.retry: int | None = None
        self.events: list[Any] = []
        self.chunks: list[bytes] = []
        self._lines = LineReader()
        self._fields: dict[str, str] = {}
        self._frames: list[Frame] = []

    async def frame(self) -> Frame | None:
        """The next frame, comments and empty ones among them; None at the end of the response."""
        while not self._frames:
            chunk = await self.connection.chunk()
            if not chunk:
                assert not self._fields and not self._lines.unended, "the stream ends within a frame"
                return None
            self.chunks.append(chunk)
            for line in self._lines.feed(chunk):
                if line is None:
                    self._frames.append(Frame.of(self._fields))
                    self._fields = {}
                else:
                    name, value = line
                    assert name not in self._fields, f"two {name} lines in one frame: {chunk!r}"
                    self._fields[name] = value
        frame = self._frames.pop(0)
        if frame.id is not None:
            self.last_id = frame.id
        if frame.retry is not None:
            self.retry = frame.retry
        return frame

    async def event(self) -> Any:
        """The data of the next event; None at the end of the response."""
        while (frame := await self.frame()) is not None:
            if frame.data is not None:
                self.events.append(frame.data)
                return frame.data
        return None

    async def comment(self) -> str:
        """The next comment."""
        while True:
            frame = await self.frame()
            assert frame is not None
            if frame.comment is not None:
                return frame.comment

    async def opened(self) -> None:
        """Read the blocks with which a stream opens."""
        first, second = await self.frame(), await self.frame()
        assert first == Frame(None, None, None, "ok")
        assert second is not None
        assert (second.data, second.retry, second.comment) == (None, 1000, None)
        assert second.id

    async def rest(self) -> list[Any]:
        """All events to the end of the response."""
        while await self.event() is not None:
            pass
        return self.events

    def leave(self) -> None:
        self.connection.close()
