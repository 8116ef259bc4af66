"""The last event of a stream: how an answer ended."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chatserver.errors import RETRYABLE, ErrorCode
from chatserver.live.outcomes import Ended, Stored
from chatserver.providers.base import Usage

FAILED = "The answer failed"


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
        return error_event(ended.code or "internal", ended.message or FAILED)
    return stopped_event(None)
