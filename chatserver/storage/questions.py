"""Questions: the user message that an answer is asked for, and the lock under which answers are claimed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, Uuid, bindparam, select, true

from chatserver.storage.messages import effective_content
from chatserver.storage.scope import Companies, companies_parameter, in_scope
from chatserver.storage.tables import conversations, messages, runs


def _question(*, of_trigger: bool) -> Select[Any]:
    asked = select(
        messages.c.id,
        messages.c.role,
        messages.c.agent_id,
        messages.c.superseded_at,
        messages.c.wording,
        effective_content().label("content"),
    ).where(messages.c.conversation_id == conversations.c.id)
    if of_trigger:
        asked = asked.where(messages.c.id == bindparam("trigger_id", type_=Uuid))
    else:
        asked = (
            asked.where(messages.c.role == "user", messages.c.superseded_at.is_(None))
            .order_by(messages.c.position.desc())
            .limit(1)
        )
    message = asked.lateral("message")
    return (
        select(
            conversations.c.company_id,
            conversations.c.agent_id,
            message.c.id.label("trigger_id"),
            message.c.role,
            message.c.content,
            message.c.superseded_at,
            message.c.wording,
            message.c.agent_id.label("message_agent_id"),
        )
        .select_from(conversations.outerjoin(message, true()))
        .where(
            conversations.c.id == bindparam("conversation_id"),
            conversations.c.deleted_at.is_(None),
            in_scope(conversations.c.company_id),
        )
    )


_QUESTION_OF_TRIGGER = _question(of_trigger=True)
_NEWEST_QUESTION = _question(of_trigger=False)


def find_question(
    connection: Connection, companies: Companies, conversation_id: UUID, trigger_id: UUID | None, *, newest: bool
) -> Row[Any] | None:
    """A conversation, and the message to answer in it: `trigger_id`, or (`newest`) the newest live user message.

    Columns: `company_id agent_id trigger_id role content superseded_at wording message_agent_id`. None: there is no
    such conversation. If there is no such message, the row's `trigger_id` is None.
    """
    parameters = {"companies": companies_parameter(companies), "conversation_id": conversation_id}
    if trigger_id is None and newest:
        return connection.execute(_NEWEST_QUESTION, parameters).one_or_none()
    return connection.execute(_QUESTION_OF_TRIGGER, parameters | {"trigger_id": trigger_id}).one_or_none()


# --- locks ---

_LOCK_CONVERSATION = (
    select(conversations.c.id)
    .where(conversations.c.id == bindparam("conversation_id"), conversations.c.deleted_at.is_(None))
    .with_for_update(key_share=True)
)

_LOCK_CONVERSATION_OF_RUN = (
    select(conversations.c.id)
    .join_from(conversations, runs, runs.c.conversation_id == conversations.c.id)
    .where(runs.c.id == bindparam("run_id"))
    .with_for_update(key_share=True, of=conversations)
)


def lock_conversation(connection: Connection, conversation_id: UUID) -> bool:
    """Keep others from claiming, rewinding or deleting until the transaction ends; False if it was deleted."""
    return connection.execute(_LOCK_CONVERSATION, {"conversation_id": conversation_id}).first() is not None


def lock_conversation_of(connection: Connection, run_id: UUID) -> None:
    """Lock the conversation of a run. This comes before a lock of the run itself, so that nobody deadlocks."""
    connection.execute(_LOCK_CONVERSATION_OF_RUN, {"run_id": run_id})
