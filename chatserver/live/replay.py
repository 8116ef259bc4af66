"""How an answer ends for its readers: the terminal events, and the replay of what is stored."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chatserver.errors import RETRYABLE, ErrorCode
from chatserver.live.journal import Journal
from chatserver.live.reader import Reader
from chatserver.live.store import Ended, Stored
from chatserver.providers.base import Usage
from chatserver.sse import EventId


def done_event(message_id: UUID, usage: Usage | None, stop_reason: str | None) -> dict[str, Any]:
    """The answer is committed under this id."""
    counted = None if usage is None else {"inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens}
    return {"type": "done", "messageId": str(message_id), "usage": counted, "stopReason": stop_reason}


def stopped_event(message_id: UUID | None) -> dict[str, Any]:
    """The answer was stopped. `message_id` is that of the kept part; None: nothing was kept."""
    return {"type": "stopped", "messageId": None if message_id is None else str(message_id)}


def error_event(code: ErrorCode, message: str) -> dict[str, Any]:
    """The answer failed, and nothing was kept."""
    return {"type": "error", "error": message, "code": code, "retryable": code in RETRYABLE}


def end_of_stored(stored: Stored) -> dict[str, Any]:
    """The terminal event of a stored answer: the same each time it is asked for."""
    if stored.kept:
        return stopped_event(stored.message_id)
    return done_event(stored.message_id, stored.usage, stored.stop_reason)


def end_without_answer(ended: Ended) -> dict[str, Any]:
    """The terminal event of a run that stored nothing."""
    if ended.status == "failed":
        return error_event(ended.code or "internal", ended.message or "The answer failed")
    return stopped_event(None)


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
    journal.append_text(stored.text[journal.start_id.chars :])
    journal.end(end_of_stored(stored))
    return Reader(journal, opening_id=resume, reset=reset)


def read_end(ended: Ended, resume: EventId) -> Reader:
    """A reader for a client that comes back to a run that ended without an answer: it gets that end."""
    journal = Journal(ended.run_id, ended.epoch)
    journal.end(end_without_answer(ended))
    return Reader(journal, opening_id=resume)
