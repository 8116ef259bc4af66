"""Rewind: superseding the messages after a message."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, literal_column, select, update

from chatserver.errors import ConflictError, NotFoundError
from chatserver.storage.conversations import moved, visible
from chatserver.storage.messages import live
from chatserver.storage.reading_order import after_target, place_of_target
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.tables import ANSWER_IS_STORED, conversations, messages, runs

_conversation_id = bindparam("conversation", type_=conversations.c.id.type)

# Adding a message, committing an answer and rewinding all take this lock first.
_LOCK = update(conversations).where(visible()).values(updated_at=moved()).returning(conversations.c.id)
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


def _supersede() -> Any:
    superseded = (
        update(messages)
        .where(
            messages.c.conversation_id == _conversation_id,
            after_target(),
            live(),
        )
        .values(superseded_at=func.clock_timestamp())
        .returning(messages.c.id)
        .cte("superseded")
    )
    ended = (
        update(runs)
        .where(
            runs.c.conversation_id == _conversation_id,
            runs.c.answer_message_id.in_(select(superseded.c.id)),
            ANSWER_IS_STORED,
        )
        .values(status=literal_column("'superseded'"))
        .returning(runs.c.id)
        .cte("ended")
    )
    return select(func.count()).select_from(superseded).add_cte(ended)


_SUPERSEDE = _supersede()


def rewind(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> int:
    """Supersede all messages that follow the message, and the runs of their answers; the number of messages.

    Raises NotFoundError if the conversation has no such live message, and ConflictError while an answer is being
    generated in it.
    """
    named = {"conversation": conversation_id}
    if connection.execute(_LOCK, {**named, "companies": companies_parameter(companies)}).one_or_none() is None:
        raise NotFoundError("Conversation not found")
    target = place_of_target(connection, conversation_id, message_id)
    connection.execute(_DROP_DEAD, named)
    if connection.execute(_ACTIVE, named).first() is not None:
        raise ConflictError("An answer is being generated in this conversation")
    return int(connection.execute(_SUPERSEDE, {**named, **target}).scalar_one())
