"""The queues of a connection's stream, in little memory: nearly always they are empty, and a deque has 600 bytes then.

It touches two private parts of Tornado's: `BaseIOStream._write_futures` and `_StreamBuffer._buffers`. If they are no
deques any more, which is noticed when this module is imported, they stay as they are.
"""

from __future__ import annotations

from typing import Any

from tornado.iostream import BaseIOStream, _StreamBuffer

SUPPORTED = {"_write_futures", "_write_buffer", "deque"} <= set(BaseIOStream.__init__.__code__.co_names) and {
    "_buffers",
    "deque",
} <= set(_StreamBuffer.__init__.__code__.co_names)


def shorten_queues(stream: BaseIOStream) -> None:
    """To be called before anything is written."""
    if SUPPORTED:
        stream._write_futures = _ShortQueue()  # type: ignore[assignment]
        stream._write_buffer._buffers = _ShortQueue()  # type: ignore[assignment]


class _ShortQueue(list[Any]):
    """What Tornado uses of a deque, for a few things."""

    __slots__ = ()

    def popleft(self) -> Any:
        return self.pop(0)
