"""Server-Sent Events: frames out, Last-Event-ID in; no I/O.

An event's id holds its run, the run's epoch, the event's number in the journal, and the number of the answer's
characters up to and with the event. Run and epoch name the text; the event's number resumes a live journal, the number
of characters a stored text, whose frames are cut differently. Source of the format: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import json
import random
import re
from json.encoder import encode_basestring
from typing import Any, NamedTuple
from uuid import UUID

OK = b":ok\n\n"
PING = b": ping\n\n"

# How long a client waits before it reconnects, in milliseconds.
RECONNECT_MS = 1_000
# The same for clients that are sent away together: random, so that they do not come back together.
COME_BACK_MS = (1_000, 5_000)

# The first epoch. An id of NO_EPOCH, the one before, fits no text: it resumes its run with a reset.
FIRST_EPOCH = 1
NO_EPOCH = 0

_ID = re.compile(r"([0-9a-f]{32})\.([0-9]{1,9})\.(?:([0-9]{1,9})\.([0-9]{1,9})|end)", re.ASCII)
_DATA = b"\ndata: "
# The sizes of chunks, as a chunk begins with them.
_SIZES = tuple(f"{size:x}" for size in range(1_024))
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# Line ends of Unicode that JSON leaves as they are. SSE does not know them, but clients that cut a stream as Python's
# `str.splitlines` does (httpx, requests) would cut the JSON there.
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


class EventId(NamedTuple):
    """The place of a client in an answer. For a terminal event `seq` and `chars` are None."""

    run_id: UUID
    epoch: int
    seq: int | None
    chars: int | None

    @property
    def terminal(self) -> bool:
        return self.seq is None

    def __str__(self) -> str:
        position = "end" if self.seq is None else f"{self.seq}.{self.chars}"
        return f"{text_name(self.run_id, self.epoch)}.{position}"


def text_name(run_id: UUID, epoch: int) -> str:
    """What all event ids of a text begin with; a dot follows."""
    return f"{run_id.hex}.{epoch}"


def parse_event_id(text: str) -> EventId | None:
    """The id that a client sent back; None: it is not one of ours."""
    match = _ID.fullmatch(text)
    if match is None:
        return None
    run, epoch, seq, chars = match.groups()
    return EventId(UUID(run), int(epoch), None if seq is None else int(seq), None if chars is None else int(chars))


def opening(event_id: EventId) -> bytes:
    """The first bytes of a stream: they reach the client at once, say when to reconnect, and name the run.

    The second block has no data: a browser dispatches nothing, but remembers the id.
    """
    return OK + f"retry: {RECONNECT_MS}\nid: {event_id}\n\n".encode()


def come_back() -> bytes:
    """The last bytes for a client that is sent away: it shall reconnect after a random time."""
    return f"retry: {random.randint(*COME_BACK_MS)}\n\n".encode()  # noqa: S311 - no secret


def event(event_id: EventId, data: dict[str, Any]) -> bytes:
    """One event as one frame."""
    return f"id: {event_id}\ndata: {_on_one_line(_encode(data))}\n\n".encode()


def text_event(event_id: EventId | str, kind: str, content: str) -> bytes:
    """`event` for `{"type": kind, "content": content}`."""
    return (
        f'id: {event_id}\ndata: {{"type":"{kind}","content":{_on_one_line(encode_basestring(content))}}}\n\n'.encode()
    )


def content_of(frame: bytes, kind: str) -> str | None:
    """The content of a text event of this kind; None: it is another event."""
    at = frame.index(_DATA) + len(_DATA)
    if not frame.startswith(f'{{"type":"{kind}",'.encode(), at):
        return None
    content: str = json.loads(frame[at:])["content"]
    return content


def text_of(frame: bytes) -> tuple[Any, str]:
    """The kind and the content of a text event."""
    event = json.loads(frame[frame.index(_DATA) + len(_DATA) :])
    return event["type"], event["content"]


def rest_of(frame: bytes, chars: int) -> bytes:
    """A text event for a client that has the first `chars` characters of its content; the id is the same."""
    id_line, data = frame.split(_DATA, 1)
    event = json.loads(data)
    return text_event(id_line.decode().removeprefix("id: "), event["type"], event["content"][chars:])


def chunk(frame: bytes) -> bytes:
    """A frame as a chunk of HTTP/1.1 (RFC 9112, 7.1), as it goes over the wire."""
    return b"%x\r\n%b\r\n" % (len(frame), frame)


def text_chunk(text_name: str, seq: int, chars: int, kind: str, content: str) -> bytes:
    """`chunk(text_event(…))`, quicker: an answer has thousands of them."""
    # `!s` formats a number in half the time.
    text = _on_one_line(encode_basestring(content))
    frame = f'id: {text_name}.{seq!s}.{chars!s}\ndata: {{"type":"{kind}","content":{text}}}\n\n'
    size = len(frame)
    if size >= len(_SIZES) or not frame.isascii():
        return chunk(frame.encode())
    return f"{_SIZES[size]}\r\n{frame}\r\n".encode()


def unchunk(chunk: bytes) -> bytes:
    """The frame of a chunk."""
    return chunk[chunk.index(b"\n") + 1 : -2]


def _on_one_line(text: str) -> str:
    """JSON that no client takes for several lines."""
    if not text.isascii() and ("\x85" in text or "\u2028" in text or "\u2029" in text):
        return text.translate(_LINE_ENDS)
    return text
