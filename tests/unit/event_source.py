"""What a client makes of an event stream: the parser of WHATWG HTML, "Server-sent events", and what is shown of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chatserver.sse import EventId, parse_event_id

_LINE_END = re.compile(r"\r\n|\n|\r")


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
        """The messages of one connection's whole body; what is not ended by an empty line is discarded."""
        text = stream.decode("utf-8").removeprefix("\ufeff")
        messages: list[Message] = []
        id_buffer, type_buffer, data_buffer = self.last_event_id, "", ""
        *lines, _unended = _LINE_END.split(text)
        for line in lines:
            if line == "":
                self.last_event_id = id_buffer
                if data_buffer:
                    messages.append(Message(type_buffer or "message", data_buffer.removesuffix("\n"), id_buffer))
                type_buffer = data_buffer = ""
                continue
            name, colon, value = line.partition(":")
            if colon:
                value = value.removeprefix(" ")
            match name:
                case "data":
                    data_buffer += value + "\n"
                case "event":
                    type_buffer = value
                case "id" if "\0" not in value:
                    id_buffer = value
                case "retry" if re.fullmatch("[0-9]+", value):
                    self.retry_ms = int(value)
                case _:
                    pass  # a comment (its name is empty), or a field that nobody knows
        return messages


@dataclass
class Viewer:
    """Who watches an answer by the contract: pieces are joined, `reset` drops what is shown."""

    text: str = ""
    thoughts: str = ""
    ends: list[dict[str, Any]] = field(default_factory=list)
    resets: int = 0
    source: EventSource = field(default_factory=EventSource)

    @property
    def last_id(self) -> EventId | None:
        """What it will send as Last-Event-ID."""
        if not self.source.last_event_id:
            return None
        event_id = parse_event_id(self.source.last_event_id)
        assert event_id is not None, self.source.last_event_id
        return event_id

    def see(self, stream: bytes) -> None:
        """Take in whole frames."""
        for message in self.source.feed(stream):
            assert message.type == "message"
            assert not self.ends, f"something follows the end: {message.data}"
            event = json.loads(message.data)
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
                    raise AssertionError(f"no event of the contract: {message.data}")
