"""Rewind: superseding the messages after a message.

What is superseded together has the same `superseded_at`, which no other messages of the conversation have, and the same
`superseded_after`. So it can be made live again together (`storage/restore.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Uuid, bindparam, exists, func, literal_column, select, update

from chatserver.errors import ConflictError, NotFoundError
from chatserver.storage.conversations import moved, visible
from chatserver.storage.messages import live
from chatserver.storage.reading_order import after_target, place_of_target
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.tables import ANSWER_IS_STORED, conversations, messages, runs

_conversation_id = bindparam("conversation", type_=conversations.c.id.type)

# Adding a message, committing an answer, rewinding and restoring all take this lock first. Each time it gives is later
# than all before it, so it names what is superseded together.
_LOCK = update(conversations).where(visible()).values(updated_at=moved()).returning(conversations.c.updated_at)
_ACTIVE = select(runs.c.id).where(
    runs.c.conversation_id == _conversation_id, runs.c.status == literal_column("'active'")
)
# A run whose process died: no other process may take it over now.
_DROP_DEAD = (
    update(runs)
    .where(
        runs.c.conversation_id == _conversation_id,
        runs.c.status == literal_column("'active'"),
        runs.c.lease_until <= func.clock_timestamp(),
    )
    .values(status=literal_column("'dropped'"), ended_at=func.clock_timestamp())
)
_SUPERSEDE = (
    update(messages)
    .where(messages.c.conversation_id == _conversation_id, after_target(), live())
    .values(
        superseded_at=bindparam("at", type_=messages.c.superseded_at.type),
        superseded_after=bindparam("target_position", type_=messages.c.position.type),
    )
)
_END_RUNS = (
    update(runs)
    .where(
        runs.c.conversation_id == bindparam("conversation", type_=Uuid()),
        ANSWER_IS_STORED,
        exists().where(messages.c.id == runs.c.answer_message_id, messages.c.superseded_at.is_not(None)),
    )
    .values(status=literal_column("'superseded'"))
)


def lock(connection: Connection, companies: Companies, conversation_id: UUID) -> datetime:
    """Lock a conversation until the transaction ends; its new `updated_at`. Raises NotFoundError if there is none."""
    named = {"conversation": conversation_id, "companies": companies_parameter(companies)}
    at: datetime | None = connection.execute(_LOCK, named).scalar_one_or_none()
    if at is None:
        raise NotFoundError("Conversation not found")
    return at


def require_idle(connection: Connection, conversation_id: UUID) -> None:
    """Raises ConflictError while an answer is being generated in a conversation, which must be locked."""
    named = {"conversation": conversation_id}
    connection.execute(_DROP_DEAD, named)
    if connection.execute(_ACTIVE, named).first() is not None:
        raise ConflictError("An answer is being generated in this conversation")


def end_runs(connection: Connection, conversation_id: UUID) -> None:
    """Have the runs of superseded answers say so: their triggers have no answer any more."""
    connection.execute(_END_RUNS, {"conversation": conversation_id})


def supersede(connection: Connection, conversation_id: UUID, target: Mapping[str, Any], at: datetime) -> int:
    """Supersede the live messages that are read after the target, all at the time `at`; how many they are."""
    return connection.execute(_SUPERSEDE, {"conversation": conversation_id, "at": at, **target}).rowcount


def rewind(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> int:
    """Supersede all messages that follow the message, and the runs of their answers; the number of messages.

    Raises NotFoundError if the conversation has no such live message, and ConflictError while an answer is being
    generated in it.
    """
    at = lock(connection, companies, conversation_id)
    target = place_of_target(connection, conversation_id, message_id)
    require_idle(connection, conversation_id)
    superseded = supersede(connection, conversation_id, target, at)
    end_runs(connection, conversation_id)
    return superseded
