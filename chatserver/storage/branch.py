"""Branch: copying the messages up to a message into a new conversation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Uuid, bindparam, column, func, insert, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from chatserver.errors import NotFoundError
from chatserver.ids import uuid7
from chatserver.storage.conversations import later_than, visible
from chatserver.storage.messages import live
from chatserver.storage.reading_order import place_of_target, up_to_target
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.tables import ANSWER_IS_STORED, conversations, messages, runs

_conversation_id = bindparam("conversation", type_=conversations.c.id.type)

# The lock keeps messages from being added, edited or superseded while they are copied.
_SOURCE = select(conversations).where(visible()).with_for_update(read=True)
_UP_TO = (
    select(messages.c.id)
    .where(
        messages.c.conversation_id == _conversation_id,
        up_to_target(),
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
# Later than its source: it stands above it in lists.
_after_source = later_than(bindparam("source_updated_at", type_=conversations.c.updated_at.type), func.now())
_CREATE = insert(conversations).values(
    created_at=_after_source, updated_at=_after_source, **{name: bindparam(f"new_{name}") for name in _COLUMNS}
)


def _copies(name: str) -> Any:
    """A table of the copied messages: the original's id, the copy's id and position, the id of the copied run."""
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
            ANSWER_IS_STORED,
            or_(runs.c.trigger_message_id.is_(None), asked.c.copy.is_not(None)),
        )
    )
    return insert(runs).from_select(list(columns), statement)


_COPY_MESSAGES = _copy_messages()
_COPY_RUNS = _copy_runs()


def branch(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> UUID:
    """Make a new conversation with copies of all live messages up to and with that message; its id.

    The copies keep times, edits, and replies to messages that are copied as well. An answered question stays answered.
    Raises NotFoundError if the conversation has no such live message.
    """
    named = {"conversation": conversation_id}
    source = connection.execute(_SOURCE, {**named, "companies": companies_parameter(companies)}).one_or_none()
    if source is None:
        raise NotFoundError("Conversation not found")
    target = place_of_target(connection, conversation_id, message_id)
    originals = connection.execute(_UP_TO, {**named, **target}).scalars().all()
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
