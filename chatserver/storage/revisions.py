"""Rewind and branch: supersede what follows a message, or copy what comes before it. Each needs one transaction.

Both go by reading order: an answer stands directly after the message that it answers, even if something else was said
before it was finished.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Uuid,
    bindparam,
    column,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from chatserver.errors import ConflictError, NotFoundError
from chatserver.ids import uuid7
from chatserver.storage.conversations import later_than, moved, visible
from chatserver.storage.messages import live
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.tables import conversations, messages, runs

_conversation_id = bindparam("conversation", type_=conversations.c.id.type)
# Written out, not parameters: so the planner sees that the partial index fits.
_ANSWERED = runs.c.status.in_([literal_column("'completed'"), literal_column("'kept'")])
_asked = messages.alias("asked")


def _stands_at() -> ColumnElement[int]:
    """The position of the message that a message answers, or else its own. Equal ones are in the order of writing."""
    asked = select(_asked.c.position).where(_asked.c.id == messages.c.reply_to, _asked.c.superseded_at.is_(None))
    return func.coalesce(asked.scalar_subquery(), messages.c.position)


_READ_AT = (_stands_at(), messages.c.position)
_given = [bindparam(f"target_{name}", type_=messages.c.position.type) for name in ("stands_at", "position")]
"""The place in reading order: of each row, and of the message to which is rewound or branched."""

_TARGET = select(*(column.label(parameter.key) for column, parameter in zip(_READ_AT, _given, strict=True))).where(
    messages.c.conversation_id == _conversation_id, messages.c.id == bindparam("message"), live()
)

# --- rewind -----------------------------------------------------------------------------------------------

# Adding a message, committing an answer and rewinding take this lock first.
_LOCK = update(conversations).where(visible()).values(updated_at=moved()).returning(conversations.c.id)
_ACTIVE = select(runs.c.id).where(
    runs.c.conversation_id == _conversation_id, runs.c.status == literal_column("'active'")
)
# An answer whose process died must not be taken over now.
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
            messages.c.position > _given[0],  # for the index: no answer is written before its question
            tuple_(*_READ_AT) > tuple_(*_given),
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
            _ANSWERED,
        )
        .values(status=literal_column("'superseded'"))
        .returning(runs.c.id)
        .cte("ended")
    )
    return select(func.count()).select_from(superseded).add_cte(ended)


_SUPERSEDE = _supersede()


def rewind(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> int:
    """Supersede all messages that follow a message, and the runs of their answers; how many messages they were.

    Raises NotFoundError if the conversation has no such live message, and ConflictError while an answer is being
    generated in it.
    """
    named = {"conversation": conversation_id}
    if connection.execute(_LOCK, {**named, "companies": companies_parameter(companies)}).one_or_none() is None:
        raise NotFoundError("Conversation not found")
    target = connection.execute(_TARGET, {**named, "message": message_id}).one_or_none()
    if target is None:
        raise NotFoundError("Message not found")
    connection.execute(_DROP_DEAD, named)
    if connection.execute(_ACTIVE, named).first() is not None:
        raise ConflictError("An answer is being generated in this conversation")
    return int(connection.execute(_SUPERSEDE, {**named, **target._mapping}).scalar_one())


# --- branch -----------------------------------------------------------------------------------------------

# The lock keeps messages from being added, edited or superseded during the copy.
_SOURCE = select(conversations).where(visible()).with_for_update(read=True)
_UP_TO = (
    select(messages.c.id)
    .where(
        messages.c.conversation_id == _conversation_id,
        tuple_(*_READ_AT) <= tuple_(*_given),
        live(),
    )
    .order_by(messages.c.position)
)
_COLUMNS = (
    "id",
    "company_id",
    "title",
    "agent_id",
    "parent_conversation_id",
    "branch_from_message_id",
    "last_position",
)
# The branch stands above its source in lists, whatever the clock says.
_after_source = later_than(bindparam("source_updated_at", type_=conversations.c.updated_at.type), func.now())
_CREATE = insert(conversations).values(
    created_at=_after_source, updated_at=_after_source, **{name: bindparam(f"new_{name}") for name in _COLUMNS}
)


def _copies(name: str) -> Any:
    """A table of original, copy, place of the copy, and run of the copy."""
    ids = [bindparam(parameter, type_=ARRAY(Uuid)) for parameter in ("originals", "copies", "new_runs")]
    columns = [column(each, Uuid) for each in ("original", "copy", "new_run")]
    unnest = func.unnest(*ids).table_valued(*columns, with_ordinality="place", name=name)
    return unnest.render_derived()


def _copy_messages() -> Any:
    copies, replied = _copies("copies"), _copies("replied")
    own = {
        "id": copies.c.copy,
        "conversation_id": bindparam("new_conversation", type_=Uuid()),
        "position": copies.c.place,
        "reply_to": replied.c.copy,
    }
    columns = {each.name: own.get(each.name, each) for each in messages.c}
    source = messages.join(copies, messages.c.id == copies.c.original).outerjoin(
        replied, messages.c.reply_to == replied.c.original
    )
    return insert(messages).from_select(list(columns), select(*columns.values()).select_from(source))


def _copy_runs() -> Any:
    copies, asked = _copies("copies"), _copies("asked")
    own = {
        "id": copies.c.new_run,
        "conversation_id": bindparam("new_conversation", type_=Uuid()),
        "trigger_message_id": asked.c.copy,
        "answer_message_id": copies.c.copy,
    }
    columns = {each.name: own.get(each.name, each) for each in runs.c}
    source = runs.join(copies, runs.c.answer_message_id == copies.c.original).outerjoin(
        asked, runs.c.trigger_message_id == asked.c.original
    )
    statement = (
        select(*columns.values())
        .select_from(source)
        .where(
            runs.c.conversation_id == _conversation_id,
            _ANSWERED,
            or_(runs.c.trigger_message_id.is_(None), asked.c.copy.is_not(None)),
        )
    )
    return insert(runs).from_select(list(columns), statement)


_COPY_MESSAGES = _copy_messages()
_COPY_RUNS = _copy_runs()


def branch(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> UUID:
    """A new conversation with copies of all live messages up to and with that one; its id.

    The copies keep times, edits and, among themselves, replies; answered messages count as answered.
    Raises NotFoundError if the conversation has no such live message.
    """
    named = {"conversation": conversation_id}
    source = connection.execute(_SOURCE, {**named, "companies": companies_parameter(companies)}).one_or_none()
    if source is None:
        raise NotFoundError("Conversation not found")
    target = connection.execute(_TARGET, {**named, "message": message_id}).one_or_none()
    if target is None:
        raise NotFoundError("Message not found")
    originals = connection.execute(_UP_TO, {**named, **target._mapping}).scalars().all()
    new_id = uuid7()
    values = {
        "source_updated_at": source.updated_at,
        "new_id": new_id,
        "new_company_id": source.company_id,
        "new_title": source.title,
        "new_agent_id": source.agent_id,
        "new_parent_conversation_id": conversation_id,
        "new_branch_from_message_id": message_id,
        "new_last_position": len(originals),
    }
    connection.execute(_CREATE, values)
    copied = {
        "new_conversation": new_id,
        "originals": originals,
        "copies": [uuid7() for _ in originals],
        "new_runs": [uuid7() for _ in originals],
    }
    connection.execute(_COPY_MESSAGES, copied)
    connection.execute(_COPY_RUNS, {**named, **copied})
    return new_id
