"""Readers of answers, and of runs, that have come to their end."""

from __future__ import annotations

from chatserver.live.journal import Journal
from chatserver.live.options import StreamOptions
from chatserver.live.outcomes import Ended, Opened, Stored
from chatserver.live.reader import Reader
from chatserver.live.terminal_events import end_of_stored, end_without_answer
from chatserver.sse import EventId


def replay(opened: Opened, options: StreamOptions) -> Reader:
    """A reader of an answer, or of a run, that had come to its end before it was opened."""
    if isinstance(opened.outcome, Stored):
        return read_stored(opened.outcome, options.resume, reset=options.reset or opened.reset)
    assert isinstance(opened.outcome, Ended)
    assert options.resume is not None
    return read_end(opened.outcome, options.resume)


def read_stored(stored: Stored, resume: EventId | None = None, *, reset: bool = False) -> Reader:
    """A reader of a stored answer.

    If `resume` is an event id of this text, the reader goes on after the characters that the client has. If it is any
    other id, or the text was edited since, the client is told to drop what it has, and gets the whole text.
    """
    journal = Journal(stored.run_id, stored.epoch)
    if resume is not None:
        same_text = (resume.run_id, resume.epoch) == (stored.run_id, stored.epoch) and not stored.edited
        if same_text and resume.chars is not None and resume.chars <= len(stored.text):
            journal = Journal(stored.run_id, stored.epoch, chars=resume.chars)
        else:
            resume, reset = None, True
    journal.append_token(stored.text[journal.start_id.chars :])
    journal.end(end_of_stored(stored))
    return Reader(journal, opening_id=resume, reset=reset)


def read_end(ended: Ended, resume: EventId) -> Reader:
    """A reader for a client that comes back to a run that ended without an answer: it gets that end."""
    journal = Journal(ended.run_id, ended.epoch)
    journal.end(end_without_answer(ended))
    return Reader(journal, opening_id=resume)
