"""The frames of one answer, append-only; no I/O.

A reader is an integer, its cursor, and is told of new frames by a call. Replay and live are read the same way
(`frames_since`), so nothing falls between them, and a slow reader costs nobody anything. Frames are encoded once, with
the header of their chunk, for all readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from chatserver import sse
from chatserver.live.fan_out import FanOut
from chatserver.sse import EventId

# A stored answer is replayed in pieces of this many characters, so that no frame is huge.
REPLAY_CHARS = 8_192


class Journal:
    """The frames of one answer. `run_id` and `epoch` name its text in event ids.

    If the answer is begun anew (`reset`), the frames before are kept for the cursors that still stand there; new
    readers begin at `start`. `chars`: how many characters of the answer stand before the first frame.
    """

    def __init__(self, run_id: UUID, epoch: int, *, chars: int = 0) -> None:
        self.run_id = run_id
        self.epoch = epoch
        self.start = 0
        self.ended = False
        self._frames: list[bytes] = []
        self._pieces: list[str] = []
        self._first_char = chars
        self._chars = chars
        self._readers = FanOut()

    # --- writing ------------------------------------------------------------------------------------------

    def append_token(self, content: str) -> None:
        """Append a piece of the answer, as one frame."""
        self._pieces.append(content)
        self._chars += len(content)
        self._append(sse.text_event(self._next_id(), "token", content))

    def append_reasoning(self, content: str) -> None:
        """Append a piece of the model's thinking, as one frame."""
        self._append(sse.text_event(self._next_id(), "reasoning", content))

    def append_text(self, text: str) -> None:
        """Append a longer piece of the answer, in frames of at most REPLAY_CHARS characters."""
        for at in range(0, len(text), REPLAY_CHARS):
            self.append_token(text[at : at + REPLAY_CHARS])

    def reset(self, run_id: UUID, epoch: int) -> None:
        """Begin the answer anew, in another epoch or run. Readers are told to drop what they have."""
        self.run_id, self.epoch = run_id, epoch
        self._pieces.clear()
        self._first_char = self._chars = 0
        self.start = len(self._frames) + 1
        self._append(sse.event(self._next_id(), {"type": "reset"}))

    def end(self, data: dict[str, Any]) -> None:
        """Append the terminal event. To be called once."""
        assert not self.ended, "a terminal event is appended once"
        frame = sse.event(EventId(self.run_id, self.epoch, None, None), data)
        self.ended = True
        self._append(frame)

    def _next_id(self) -> EventId:
        return EventId(self.run_id, self.epoch, len(self._frames) + 1, self._chars)

    def _append(self, frame: bytes) -> None:
        self._frames.append(sse.chunk(frame))
        self._readers.tell()

    # --- reading ------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The answer so far, from its first frame on."""
        return "".join(self._pieces)

    @property
    def chars(self) -> int:
        """The length of `text`."""
        return self._chars - self._first_char

    def __len__(self) -> int:
        return len(self._frames)

    def frames_since(self, cursor: int, limit: int) -> Sequence[bytes]:
        """At most `limit` frames after the first `cursor`, as chunks of HTTP."""
        return self._frames[cursor : cursor + limit]

    def cursor_after(self, event_id: EventId) -> int | None:
        """The cursor that follows an event; None if the event is not one of this epoch."""
        if (event_id.run_id, event_id.epoch) != (self.run_id, self.epoch) or event_id.seq is None:
            return None
        return event_id.seq if self.start <= event_id.seq <= len(self._frames) else None

    @property
    def start_id(self) -> EventId:
        """The event id from which a new reader starts: it stands before the first event that the reader gets."""
        return EventId(self.run_id, self.epoch, self.start, self._first_char)

    def add_waker(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each frame, as `FanOut` says."""
        self._readers.add(wake)

    def remove_waker(self, wake: Callable[[], None]) -> None:
        self._readers.remove(wake)
