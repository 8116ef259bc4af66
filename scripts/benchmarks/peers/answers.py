"""The events of the peers that are written in Python, as large as those of chatserver."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

OPENING = b":ok\n\nretry: 1000\nid: 01a2068c475c73508a42c6fefd9d97cb.1.0.0\n\n"
MESSAGE = b'{"id":"01a2068c-475c-7350-8a42-c6fefd9d97cb"}'

STREAM_PATH = re.compile(r"/api/conversations/(?:(\d+)-(\d+)|live)/stream")


def events(tokens: int) -> Iterator[bytes]:
    """The tokens of an answer."""
    for number in range(1, tokens + 1):
        content = "word" if number % 2 else " "
        yield event(f"{number}.{5 * number // 2}", {"type": "token", "content": content})


def end() -> bytes:
    """The event after the last token."""
    return event(
        "end",
        {
            "type": "done",
            "messageId": "01a2068c-47c0-7f6f-8206-644f5db7d141",
            "usage": None,
            "stopReason": "stop",
        },
    )


def event(position: str, data: dict[str, object]) -> bytes:
    text = json.dumps(data, separators=(",", ":"))
    return f"id: 01a2068c475c73508a42c6fefd9d97cb.1.{position}\ndata: {text}\n\n".encode()
