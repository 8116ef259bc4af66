"""The events of the peers that are written in Python, as large as those of chatserver."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

RUN = "01a2068c475c73508a42c6fefd9d97cb"
OPENING = f":ok\n\nretry: 1000\nid: {RUN}.1.0.0\n\n".encode()
PING = b": ping\n\n"
MESSAGE_ID = "01a2068c-475c-7350-8a42-c6fefd9d97cb"
HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


class Answer(NamedTuple):
    """How many tokens an answer has, and the seconds between them."""

    tokens: int
    pace_seconds: float


def answer(name: str) -> Answer:
    """What `TOKENS-PACE_MS` says, anywhere in the name."""
    match = re.search(r"(\d+)-(\d+)", name)
    assert match is not None, name
    return Answer(int(match[1]), int(match[2]) / 1000)


def ping_seconds(name: str) -> float:
    """What `idle-PING_MS` says."""
    return int(name.partition("-")[2]) / 1000


def word(number: int) -> str:
    """The content of the token with that number, counted from 1."""
    return "word" if number % 2 else " "


def token(number: int) -> tuple[str, str]:
    """Id and data of a token."""
    return f"{RUN}.1.{number}.{5 * number // 2}", dumps({"type": "token", "content": word(number)})


def text_token(content: str, number: int) -> tuple[str, str]:
    """Id and data of a token with that content."""
    return f"{RUN}.1.{number}.{5 * number // 2}", dumps({"type": "token", "content": content})


def end(message_id: str = MESSAGE_ID) -> tuple[str, str]:
    """Id and data of the event after the last token."""
    return f"{RUN}.1.end", dumps({"type": "done", "messageId": message_id, "usage": None, "stopReason": "stop"})


def event(name: str, data: str) -> bytes:
    """One event as it is sent."""
    return f"id: {name}\ndata: {data}\n\n".encode()


def dumps(value: object) -> str:
    """JSON without blanks."""
    return json.dumps(value, separators=(",", ":"))
