"""Rows of the storage as resources of the API."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from chatserver.errors import ErrorCode
from chatserver.live.terminal_events import FAILED, error_event
from chatserver.message_schemas import Author, ChatMessage, Failure, FormerAnswer, TokenUsage, VersionedMessage
from chatserver.schemas import ActiveRun, Agent, Conversation
from chatserver.services.turns import AddedMessage


def to_conversation(row: Row[Any]) -> Conversation:
    """`row` is one of `storage.conversations`: the table's columns and those of its active run."""
    return Conversation(
        id=row.id,
        company_id=row.company_id,
        title=row.title,
        agent_id=row.agent_id,
        pinned_at=row.pinned_at,
        archived_at=row.archived_at,
        deleted_at=row.deleted_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        parent_conversation_id=row.parent_conversation_id,
        branch_from_message_id=row.branch_from_message_id,
        active_run=None
        if row.run_id is None
        else ActiveRun(trigger_message_id=row.run_trigger_id, started_at=row.run_started_at),
    )


def to_message(row: Row[Any]) -> ChatMessage:
    counted = row.input_tokens is not None and row.output_tokens is not None
    return ChatMessage(
        id=row.id,
        conversation_id=row.conversation_id,
        role=row.role,
        content=row.content,
        agent_id=row.agent_id,
        created_at=row.created_at,
        edited_content=row.edited_content,
        edited_at=row.edited_at,
        reply_to=row.reply_to,
        status=row.status,
        superseded_at=row.superseded_at,
        usage=TokenUsage(input_tokens=row.input_tokens, output_tokens=row.output_tokens) if counted else None,
        model=row.model,
        stop_reason=row.stop_reason,
        duration_ms=row.duration_ms,
        reasoning=row.reasoning,
        reasoning_ms=row.reasoning_ms,
        author=_author(row.author),
        failure=None if row.failure is None else _failure(*row.failure),
    )


def to_versioned_message(row: Row[Any]) -> VersionedMessage:
    """`row` is one of `storage.messages.list_page` with versions."""
    former = zip(row.former_ids or (), row.former_times or (), strict=True)
    answers = [FormerAnswer(id=answer_id, created_at=created_at) for answer_id, created_at in former]
    return VersionedMessage(**dict(to_message(row)), former_answers=answers if row.role == "user" else None)


def _author(name: str | None) -> Author | None:
    return None if name is None else Author(name=name)


def _failure(code: ErrorCode | None, error: str | None) -> Failure:
    """The end of a run that failed, in the words of its `error` event."""
    event = error_event(code or "internal", error or FAILED)
    return Failure(code=event["code"], error=event["error"], retryable=event["retryable"])


def added_message(added: AddedMessage) -> ChatMessage:
    """A message that was added now: it has not been edited, superseded or answered."""
    message = added.message
    return ChatMessage(
        id=message.message_id,
        conversation_id=message.conversation_id,
        role=message.role,
        content=message.content,
        agent_id=message.agent_id,
        created_at=added.created_at,
        edited_content=None,
        edited_at=None,
        reply_to=None,
        status="completed",
        superseded_at=None,
        usage=None,
        model=None,
        stop_reason=None,
        duration_ms=None,
        reasoning=None,
        reasoning_ms=None,
        author=_author(message.author),
        failure=None,
    )


def to_agent(row: Row[Any]) -> Agent:
    return Agent(
        id=row.id,
        company_id=row.company_id,
        name=row.name,
        adapter_type=row.adapter_type,
        adapter_config=row.adapter_config,
        status=row.status if row.deleted_at is None else "removed",
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
