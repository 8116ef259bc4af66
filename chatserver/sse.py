"""Server-Sent Events: frames out, Last-Event-ID in; no I/O.

An event's id names its run, the run's epoch, its number in the journal, and how many characters of the answer there
are with it. The first two say which text it belongs to; the third resumes a live journal, the fourth a stored text,
whose frames are cut differently. Source of the format: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import json
import random
import re
from typing import Any, NamedTuple
from uuid import UUID

OK = b":ok\n\n"
PING = b": ping\n\n"

# How long a client waits before it reconnects, in milliseconds.
RECONNECT_MS = 1_000
# The same, where many are sent away at once: spread, so that they do not come back at once.
COME_BACK_MS = (1_000, 5_000)

# Epochs count from here, so an id of the one before never fits: it resumes its run with a reset.
FIRST_EPOCH = 1
NO_EPOCH = 0

_ID = re.compile(r"([0-9a-f]{32})\.([0-9]{1,9})\.(?:([0-9]{1,9})\.([0-9]{1,9})|end)", re.ASCII)
_quote = json.JSONEncoder(ensure_ascii=False).encode


class EventId(NamedTuple):
    """Where a client is. Of a terminal event `seq` and `chars` are None: it is the end, whatever the text."""

    run_id: UUID
    epoch: int
    seq: int | None
    chars: int | None

    @property
    def terminal(self) -> bool:
        return self.seq is None

    def __str__(self) -> str:
        position = "end" if self.seq is None else f"{self.seq}.{self.chars}"
        return f"{self.run_id.hex}.{self.epoch}.{position}"


def parse_event_id(text: str) -> EventId | None:
    """The id that a client sent back; None when it is none of ours."""
    match = _ID.fullmatch(text)
    if match is None:
        return None
    run, epoch, seq, chars = match.groups()
    return EventId(UUID(run), int(epoch), None if seq is None else int(seq), None if chars is None else int(chars))


def opening(event_id: EventId) -> bytes:
    """The first bytes of a stream: they reach the client at once, set its patience, and name the run.

    The second block has no data, so it dispatches nothing, but its id is remembered.
    """
    return OK + f"retry: {RECONNECT_MS}\nid: {event_id}\n\n".encode()


def come_back() -> bytes:
    """The last bytes for a client that is sent away: it shall reconnect, in a while that differs for each."""
    return f"retry: {random.randint(*COME_BACK_MS)}\n\n".encode()  # noqa: S311 - no secret


def event(event_id: EventId, data: dict[str, Any]) -> bytes:
    """One event as one frame."""
    return f"id: {event_id}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def text_event(event_id: EventId, kind: str, content: str) -> bytes:
    """The same for `{"type": kind, "content": content}`, of which an answer has thousands."""
    return f'id: {event_id}\ndata: {{"type":"{kind}","content":{_quote(content)}}}\n\n'.encode()
