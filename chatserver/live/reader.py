"""The place of one client in an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatserver import sse
from chatserver.live.journal import Journal
from chatserver.sse import NO_EPOCH, EventId

# The most frames that are handed out at once. Between two batches others have their turn.
BATCH_FRAMES = 64


class Reader:
    """A cursor in a journal; whoever follows it is called in the turn of the loop in which there is more to take.

    It begins at the journal's start, or behind `cursor` events and `seen` characters of the next one; `opening_id` is
    the event id that resumes there. `reset`: first tell the client to drop what it has. `awaited`: an event that has
    not come to this process yet, because another one generates the answer; the reader goes on behind it. `on_close` is
    called once.
    """

    __slots__ = (
        "_awaited",
        "_closed",
        "_first",
        "_follower",
        "_journal",
        "_on_close",
        "cursor",
        "opening",
    )

    def __init__(
        self,
        journal: Journal,
        *,
        cursor: int | None = None,
        seen: int = 0,
        opening_id: EventId | None = None,
        reset: bool = False,
        awaited: EventId | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.cursor = journal.start if cursor is None else cursor
        """How many frames of the journal have been taken, or were not needed."""
        self._journal = journal
        self._first: list[bytes] = []
        self._awaited = awaited
        self._on_close = on_close
        self._follower: Callable[[], None] | None = None
        self._closed = False
        if reset:
            # If the connection is cut right after the opening, the client has to be told again.
            opening_id = EventId(journal.run_id, NO_EPOCH, 0, 0)
            self._first.append(sse.chunk(sse.event(journal.start_id, {"type": "reset"})))
        self.opening = sse.opening(opening_id or journal.start_id)
        if seen:
            self._skip(seen)

    @classmethod
    def join(
        cls, journal: Journal, resume: EventId | None, *, reset: bool, lags: bool, on_close: Callable[[], None]
    ) -> Reader:
        """A reader of an answer in the making, for a client that has all up to and with the event `resume`.

        `lags`: another process generates the answer, so there may be events that have not come to this one yet.
        """
        if resume is None:
            return cls(journal, reset=reset, on_close=on_close)
        if journal.names_text_of(resume):
            place = None if lags and _is_ahead(journal, resume) else journal.place_of(resume)
            if place is not None:
                return cls(journal, cursor=place[0], seen=place[1], opening_id=resume, on_close=on_close)
            if lags and not resume.terminal:
                return cls(journal, opening_id=resume, awaited=resume, on_close=on_close)
        return cls(journal, reset=True, on_close=on_close)

    def take(self, limit: int = BATCH_FRAMES) -> Sequence[bytes]:
        """The next frames, `limit` at most, as `Journal.frames_since` gives them. Empty: there are none yet."""
        if self._awaited is not None and not self._has_come(self._awaited):
            return []
        if self._first:
            first, self._first = self._first, []
            return first
        frames, self.cursor = self._journal.frames_since(self.cursor, limit)
        return frames

    def _has_come(self, awaited: EventId) -> bool:
        """Whether the reader can go on by now. Then its cursor stands behind the event that it waited for."""
        journal = self._journal
        if journal.start == self.cursor:
            if _is_ahead(journal, awaited) and not journal.over:
                return False
            place = journal.place_of(awaited)
            if place is not None:
                self.cursor, seen = place
                if seen:
                    self._skip(seen)
            elif journal.over:
                # It ended without an answer. What else came of it stands before the event.
                self.cursor = journal.events - journal.ended
            else:
                return False
        # Else the answer was begun anew, and a reset stands behind the cursor.
        self._awaited = None
        return True

    def _skip(self, chars: int) -> None:
        """The client has so many characters of the next event."""
        frames, self.cursor = self._journal.frames_since(self.cursor, 1)
        self._first.append(sse.chunk(sse.rest_of(sse.unchunk(frames[0]), chars)))

    @property
    def behind(self) -> bool:
        """Whether there is something to take."""
        if self._awaited is not None and not self._has_come(self._awaited):
            return False
        return self.cursor < self._journal.events or bool(self._first)

    @property
    def at_end(self) -> bool:
        """Whether all has been taken, and nothing follows. The last event is the terminal one, unless there is none."""
        return self._journal.over and not self.behind

    def follow(self, call: Callable[[], None]) -> None:
        """From now on, and until `close`, call whenever there is more to take, as `FanOut` says. To be called once."""
        assert self._follower is None, "a reader has one follower"
        self._follower = call
        self._journal.add_waker(call)

    def close(self) -> None:
        """Leave the answer. May be called again."""
        if not self._closed:
            self._closed = True
            if self._follower is not None:
                self._journal.remove_waker(self._follower)
            if self._on_close is not None:
                self._on_close()


def _is_ahead(journal: Journal, event_id: EventId) -> bool:
    return event_id.seq is not None and event_id.seq > journal.seq
