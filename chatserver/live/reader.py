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

    It begins at the journal's start, or after `cursor` frames; `opening_id` is the event id that resumes there.
    `reset`: first tell the client to drop what it has. `deferred`: an event id that cannot be judged yet, because
    another process generates the answer and the journal is still empty. `on_close` is called once.
    """

    __slots__ = (
        "_closed",
        "_deferred",
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
        opening_id: EventId | None = None,
        reset: bool = False,
        deferred: EventId | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.cursor = journal.start if cursor is None else cursor
        """How many frames of the journal have been taken, or were not needed."""
        self._journal = journal
        self._first: list[bytes] = []
        self._deferred = deferred
        self._on_close = on_close
        self._follower: Callable[[], None] | None = None
        self._closed = False
        if reset:
            # If the connection is cut right after the opening, the client has to be told again.
            opening_id = EventId(journal.run_id, NO_EPOCH, 0, 0)
            self._first.append(sse.chunk(sse.event(journal.start_id, {"type": "reset"})))
        self.opening = sse.opening(opening_id or journal.start_id)

    @classmethod
    def join(cls, journal: Journal, resume: EventId | None, *, reset: bool, on_close: Callable[[], None]) -> Reader:
        """A reader of an answer in the making, for a client that has all up to and with the event `resume`."""
        if resume is None:
            return cls(journal, reset=reset, on_close=on_close)
        cursor = journal.cursor_after(resume)
        if cursor is not None:
            return cls(journal, cursor=cursor, opening_id=resume, on_close=on_close)
        if journal.events == 0 and (resume.run_id, resume.epoch) == (journal.run_id, journal.epoch):
            return cls(journal, opening_id=resume, deferred=resume, on_close=on_close)
        return cls(journal, reset=True, on_close=on_close)

    def take(self, limit: int = BATCH_FRAMES) -> Sequence[bytes]:
        """The next frames, `limit` at most, as `Journal.frames_since` gives them. Empty: there are none yet."""
        if self._deferred is not None and not self._decide(self._deferred):
            return []
        if self._first:
            first, self._first = self._first, []
            return first
        frames, self.cursor = self._journal.frames_since(self.cursor, limit)
        return frames

    def _decide(self, resume: EventId) -> bool:
        """Go on after `resume` in a journal that was empty when this reader came. False: that cannot be decided yet.

        If the other process finished the answer, the journal holds its whole text and its end, and only the rest of
        the text is sent. If the answer was begun anew, the journal itself has a `reset`.
        """
        journal = self._journal
        if not journal.ended and not journal.start:
            return False
        self._deferred = None
        if not journal.start:
            self.cursor, seen = journal.event_at(resume.chars or 0)
            if seen:
                frames, self.cursor = journal.frames_since(self.cursor, 1)
                self._first = [sse.chunk(sse.rest_of(sse.unchunk(frames[0]), seen))]
        return True

    @property
    def behind(self) -> bool:
        """Whether there is something to take."""
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
