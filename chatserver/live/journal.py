"""The frames of one answer, append-only, and the cursors of those who read them; no I/O.

A reader is an integer and a wake-up. What is there already and what is still to come are read the same way
(`frames_since`, else wait), so nothing can fall in between, and a reader that is slow costs nobody anything.
Frames are encoded once, for all readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from chatserver import sse
from chatserver.sse import EventId

# A stored answer is replayed in pieces of this many characters, so that no frame is huge.
REPLAY_CHARS = 8_192


class Journal:
    """What the readers of one answer see.

    `text` is the answer so far. When it has to be begun anew (`reset`), the frames before are kept for the cursors
    that still stand there, but new readers begin at `start`.
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
        self._wakers: set[Callable[[], None]] = set()

    # --- writing ------------------------------------------------------------------------------------------

    def append_token(self, content: str) -> None:
        """The next piece of the answer."""
        self._pieces.append(content)
        self._chars += len(content)
        self._append(sse.text_event(self._next_id(), "token", content))

    def append_reasoning(self, content: str) -> None:
        """The next piece of the model's thinking."""
        self._append(sse.text_event(self._next_id(), "reasoning", content))

    def append_text(self, text: str) -> None:
        """A longer piece of the answer, in frames of a bounded size."""
        for at in range(0, len(text), REPLAY_CHARS):
            self.append_token(text[at : at + REPLAY_CHARS])

    def reset(self, run_id: UUID, epoch: int) -> None:
        """Begin the answer anew under another epoch, or run; readers are told to drop what they have."""
        self.run_id, self.epoch = run_id, epoch
        self._pieces.clear()
        self._first_char = self._chars = 0
        self._append(sse.event(self._next_id(), {"type": "reset"}))
        self.start = len(self._frames)

    def end(self, data: dict[str, Any]) -> None:
        """The terminal event, exactly once."""
        assert not self.ended, "a terminal event is appended once"
        frame = sse.event(EventId(self.run_id, self.epoch, None, None), data)
        self.ended = True
        self._append(frame)

    def _next_id(self) -> EventId:
        return EventId(self.run_id, self.epoch, len(self._frames) + 1, self._chars)

    def _append(self, frame: bytes) -> None:
        self._frames.append(frame)
        for wake in self._wakers:
            wake()

    # --- reading ------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._pieces)

    @property
    def chars(self) -> int:
        """How many characters the answer has so far."""
        return self._chars - self._first_char

    def __len__(self) -> int:
        return len(self._frames)

    def frames_since(self, cursor: int, limit: int) -> Sequence[bytes]:
        """At most `limit` frames after the first `cursor`."""
        return self._frames[cursor : cursor + limit]

    def cursor_after(self, event_id: EventId) -> int | None:
        """Where to read on after that event; None when it is not of this epoch."""
        if (event_id.run_id, event_id.epoch) != (self.run_id, self.epoch) or event_id.seq is None:
            return None
        return event_id.seq if self.start <= event_id.seq <= len(self._frames) else None

    @property
    def start_id(self) -> EventId:
        """The id of the place before the first event that a new reader gets."""
        return EventId(self.run_id, self.epoch, self.start, self._first_char)

    def add_waker(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every frame; it must be quick and must not change the set of wakers."""
        self._wakers.add(wake)

    def remove_waker(self, wake: Callable[[], None]) -> None:
        self._wakers.discard(wake)
