"""Erasing for good: a message with its answers, or a conversation, with all that was made from their texts.

The audit log gets its entry in the same transaction.

`ON DELETE CASCADE` takes along revisions and bookmarks, a trigger the entries of the search.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Connection, Row, any_, bindparam, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from chatserver.audit_events import ConversationErased, MessageErased
from chatserver.errors import NotFoundError
from chatserver.storage import audit, leases
from chatserver.storage import places as queue_places
from chatserver.storage.conversations import named, visible
from chatserver.storage.messages import effective_content, live
from chatserver.storage.older_rewinds import find_places
from chatserver.storage.restore import STANDS_AT
from chatserver.storage.rewind import require_idle
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.tables import conversations, messages, revisions, runs, sent_keys
from chatserver.storage.titles import first_line

# Rows of one statement: none shall take long.
ROWS_A_STATEMENT = 1_000

_conversation_id = bindparam("conversation", type_=Uuid())
_message_id = bindparam("message", type_=Uuid())
_erased = any_(bindparam("erased", type_=ARRAY(Uuid)))

# Keeps off whoever writes to the conversation, and branches, which only share its key.
_LOCK_ANY = select(conversations).where(named()).with_for_update()
_LOCK = _LOCK_ANY.where(visible())
# Claims look whether the row of the conversation is another one: it is, even though nothing in it changes. For
# PostgreSQL its key may have changed then, so a branch whose snapshot is older does not get its lock.
_REWRITE = (
    update(conversations).where(conversations.c.id == _conversation_id).values(updated_at=conversations.c.updated_at)
)
_TARGET = select(messages.c.role, messages.c.content).where(
    messages.c.conversation_id == _conversation_id, messages.c.id == _message_id
)
_WITH_ANSWERS = select(messages.c.id, messages.c.position).where(
    messages.c.conversation_id == _conversation_id,
    or_(messages.c.id == _message_id, messages.c.reply_to == _message_id),
)
_ACTIVE = select(runs.c.id).where(
    runs.c.conversation_id == _conversation_id, runs.c.status == "active", runs.c.trigger_message_id == _message_id
)

# What followed an erased message follows the one before it. An erased answer stood directly after the message.
_BEFORE = text(
    f"""
WITH target AS (
    SELECT m.superseded_at, m.superseded_after, m.position, {STANDS_AT} AS stands_at
    FROM chat_messages AS m WHERE m.id = :message
)
SELECT coalesce((
    SELECT m.position FROM chat_messages AS m
    WHERE m.conversation_id = :conversation AND m.superseded_at IS NOT DISTINCT FROM target.superseded_at
        AND ({STANDS_AT}, m.position) < (target.stands_at, target.position)
    ORDER BY {STANDS_AT} DESC, m.position DESC LIMIT 1
), target.superseded_after, 0) FROM target
"""  # noqa: S608 (only constants are put in)
).bindparams(bindparam("conversation", type_=Uuid()), bindparam("message", type_=Uuid()))
_MOVE_PLACES = (
    update(messages)
    .where(
        messages.c.conversation_id == _conversation_id,
        messages.c.superseded_after == any_(bindparam("places", type_=ARRAY(BigInteger))),
    )
    .values(superseded_after=bindparam("before", type_=BigInteger))
)

_WORDINGS = select(revisions.c.content).where(revisions.c.message_id == _message_id)
_DELETE_RUNS = delete(runs).where(runs.c.conversation_id == _conversation_id, runs.c.trigger_message_id == _erased)
# Of an answer whose question is left, the run stays: what failed before it is not the newest that happened.
_EMPTY_RUNS = (
    update(runs)
    .where(runs.c.conversation_id == _conversation_id, runs.c.answer_message_id == _erased)
    .values(status="dropped", answer_message_id=None)
)
# The key stays for its day: a client that sends the message again must not bring it back. Nothing tells its text.
_BLANK_KEYS = (
    update(sent_keys)
    .where(sent_keys.c.conversation_id == _conversation_id, sent_keys.c.message_id == _erased)
    .values(digest=b"")
)
_DELETE_MESSAGES = delete(messages).where(messages.c.conversation_id == _conversation_id, messages.c.id == _erased)

_FIRST_QUESTION = (
    select(effective_content().label("content"))
    .where(messages.c.conversation_id == _conversation_id, messages.c.role == "user", live())
    .order_by(messages.c.position)
    .limit(1)
)
_NAME = update(conversations).where(conversations.c.id == _conversation_id).values(title=bindparam("new_title"))


def erase_message(
    connection: Connection,
    companies: Companies,
    conversation_id: UUID,
    message_id: UUID,
    *,
    deleted_too: bool = False,
) -> UUID:
    """Erase a message, superseded or not, and all answers to it. Nothing else moves, not even the conversation.

    A title that was taken from it is taken anew, from the first user message that is left. Returns the company.
    `deleted_too`: the conversation may be deleted. Raises NotFoundError if the conversation has no such message, and
    ConflictError while its answer is being generated.
    """
    given = {"conversation": conversation_id, "message": message_id}
    named_by = {"conversation": conversation_id, "companies": companies_parameter(companies)}
    conversation = connection.execute(_LOCK_ANY if deleted_too else _LOCK, named_by).one_or_none()
    if conversation is None:
        raise NotFoundError("Conversation not found")
    connection.execute(_REWRITE, given)
    target = connection.execute(_TARGET, given).one_or_none()
    if target is None:
        raise NotFoundError("Message not found")
    if connection.execute(_ACTIVE, given).first() is not None:
        require_idle(connection, conversation_id)
    retitle = _named_it(connection, conversation.title, target, given)
    find_places(connection, conversation_id)
    before = connection.execute(_BEFORE, given).scalar_one()
    rows = connection.execute(_WITH_ANSWERS, given).all()
    places = {"conversation": conversation_id, "places": [row.position for row in rows], "before": before}
    connection.execute(_MOVE_PLACES, places)
    erased = {"conversation": conversation_id, "erased": [row.id for row in rows]}
    connection.execute(_DELETE_RUNS, erased)
    connection.execute(_EMPTY_RUNS, erased)
    connection.execute(_BLANK_KEYS, erased)
    connection.execute(_DELETE_MESSAGES, erased)
    queue_places.stop_waiting(connection, conversation_id, message_id)
    if retitle:
        first = connection.execute(_FIRST_QUESTION, given).scalar_one_or_none()
        connection.execute(_NAME, {**given, "new_title": None if first is None else first_line(first)})
    audit.record(
        connection,
        MessageErased(
            company_id=conversation.company_id,
            conversation_id=conversation_id,
            message_id=message_id,
            answers=len(rows) - 1,
        ),
    )
    company: UUID = conversation.company_id
    return company


def _named_it(connection: Connection, title: str | None, target: Any, given: dict[str, Any]) -> bool:
    """Whether the conversation's title is the first line of the message, in whatever wording.

    What a person called the conversation stays, unless it is just this line.
    """
    if title is None or target.role != "user":
        return False
    wordings = (target.content, *connection.execute(_WORDINGS, given).scalars())
    return title in map(first_line, wordings)


# --- conversations ----------------------------------------------------------------------------------------

_LOCK_CONVERSATION = select(conversations.c.company_id).where(named()).with_for_update()
_HIDE = (
    update(conversations)
    .where(named())
    .values(deleted_at=func.coalesce(conversations.c.deleted_at, func.clock_timestamp()))
    .returning(conversations.c.company_id, conversations.c.last_position)
)
_DELETE_SOME = delete(messages).where(
    messages.c.id.in_(
        select(messages.c.id)
        .where(messages.c.conversation_id == _conversation_id)
        .order_by(messages.c.position)
        .limit(ROWS_A_STATEMENT)
    )
)
_DELETE_CONVERSATION = delete(conversations).where(conversations.c.id == _conversation_id)


def hide_conversation(connection: Connection, companies: Companies, conversation_id: UUID) -> Row[Any]:
    """Delete a conversation, so that no answer is begun in it, and request the stop of its answer.

    It may have been deleted before. A row of its `company_id` and `last_position`. Raises NotFoundError if there is no
    such conversation.
    """
    given = {"conversation": conversation_id, "companies": companies_parameter(companies)}
    row: Row[Any] | None = connection.execute(_HIDE, given).one_or_none()
    if row is None:
        raise NotFoundError("Conversation not found")
    leases.request_stop(connection, conversation_id, keep=False)
    return row


def erase_conversation(connection: Connection, companies: Companies, conversation_id: UUID) -> None:
    """Erase a conversation with all its rows, if it is still there. Branches of it stay."""
    given = {"conversation": conversation_id, "companies": companies_parameter(companies)}
    row = connection.execute(_LOCK_CONVERSATION, given).one_or_none()
    if row is None:
        return
    delete_conversation(connection, conversation_id)
    audit.record(connection, ConversationErased(company_id=row.company_id, conversation_id=conversation_id))


def delete_conversation(connection: Connection, conversation_id: UUID) -> None:
    """Delete all rows of a conversation that this transaction has locked. The caller writes the entry of the audit
    log."""
    given = {"conversation": conversation_id}
    while connection.execute(_DELETE_SOME, given).rowcount == ROWS_A_STATEMENT:
        pass
    connection.execute(_DELETE_CONVERSATION, given)
