"""The place of one client in an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from chatserver import sse
from chatserver.live.journal import Journal
from chatserver.sse import NO_EPOCH, EventId

# The most frames that are handed out at once. Between two batches other readers have their turn.
BATCH_FRAMES = 64


class Reader:
    """A cursor in a journal, with a wake-up for its one waiter.

    It begins at the journal's start, or after `cursor` frames; `opening_id` is the event id that resumes there.
    `reset`: first tell the client to drop what it has. `deferred`: an event id that cannot be judged yet, because
    another process generates the answer and the journal is still empty. `on_close` is called once.
    """

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
        self._journal = journal
        self._cursor = journal.start if cursor is None else cursor
        self._first: list[bytes] = []
        self._deferred = deferred
        self._on_close = on_close
        self._woken = False
        self._waiter: asyncio.Future[bool] | None = None
        self._closed = False
        if reset:
            # If the connection is cut right after the opening, the client has to be told again.
            opening_id = EventId(journal.run_id, NO_EPOCH, 0, 0)
            self._first.append(sse.event(journal.start_id, {"type": "reset"}))
        self.opening = sse.opening(opening_id or journal.start_id)
        journal.add_waker(self.wake)

    @classmethod
    def join(cls, journal: Journal, resume: EventId | None, *, reset: bool, on_close: Callable[[], None]) -> Reader:
        """A reader of an answer in the making, for a client that has all up to and with the event `resume`."""
        if resume is None:
            return cls(journal, reset=reset, on_close=on_close)
        cursor = journal.cursor_after(resume)
        if cursor is not None:
            return cls(journal, cursor=cursor, opening_id=resume, on_close=on_close)
        if len(journal) == 0 and (resume.run_id, resume.epoch) == (journal.run_id, journal.epoch):
            return cls(journal, opening_id=resume, deferred=resume, on_close=on_close)
        return cls(journal, reset=True, on_close=on_close)

    def take(self) -> Sequence[bytes]:
        """The next frames, BATCH_FRAMES at most. Empty: there are none yet, or the reader is `at_end`."""
        if self._deferred is not None and len(self._journal) > 0:
            self._decide(self._deferred)
        if self._first:
            first, self._first = self._first[:BATCH_FRAMES], self._first[BATCH_FRAMES:]
            return first
        frames = self._journal.frames_since(self._cursor, BATCH_FRAMES)
        self._cursor += len(frames)
        return frames

    def _decide(self, resume: EventId) -> None:
        """Go on after `resume` in a journal that was empty when this reader came.

        If the other process finished the answer, the journal holds its whole text and its end, and only the rest of
        the text is sent. If the answer was begun anew, the journal itself has a `reset`.
        """
        self._deferred = None
        journal = self._journal
        if journal.ended and journal.start == 0:
            rest = Journal(journal.run_id, journal.epoch, chars=resume.chars or 0)
            rest.append_text(journal.text[resume.chars :])
            self._first.extend(rest.frames_since(0, len(rest)))
            self._cursor = len(journal) - 1

    @property
    def at_end(self) -> bool:
        """Whether the terminal event has been taken."""
        return self._journal.ended and not self._first and self._cursor == len(self._journal)

    def wake(self) -> None:
        """Have `wait` return."""
        waiter = self._waiter
        if waiter is None:
            self._woken = True
        elif not waiter.done():
            waiter.set_result(True)

    async def wait(self, seconds: float) -> bool:
        """Wait for `wake`, for `seconds` at most; False if it was not called."""
        if self._woken:
            self._woken = False
            return True
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiter = waiter
        timer = loop.call_later(seconds, _give_up, waiter)
        try:
            return await waiter
        finally:
            self._waiter = None
            timer.cancel()

    def close(self) -> None:
        """Leave the answer. May be called again."""
        if not self._closed:
            self._closed = True
            self._journal.remove_waker(self.wake)
            if self._on_close is not None:
                self._on_close()


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
