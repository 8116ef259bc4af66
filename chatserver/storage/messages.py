"""Messages. A rewind supersedes them, and they stay; only `storage/erase.py` deletes any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    Text,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, array

from chatserver.ids import uuid7
from chatserver.storage import keyset
from chatserver.storage.conversations import moved, visible
from chatserver.storage.former_answers import former_answers_of
from chatserver.storage.page_bytes import text_bytes, with_places, within_bytes
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.tables import conversations, is_current, is_past, messages, runs
from chatserver.storage.titles import first_line

Order = Literal["asc", "desc"]
Superseded = Literal["exclude", "include"]

_ORDERS: Mapping[Order, keyset.ListOrder] = {
    "asc": keyset.ListOrder("messages", position=int),
    "desc": keyset.ListOrder("messages", descending=True, position=int),
}


def effective_content() -> ColumnElement[str]:
    """The edited content if there is one, else the content. Models see only this."""
    return func.coalesce(messages.c.edited_content, messages.c.content)


def live() -> ColumnElement[bool]:
    """True for messages that are not superseded."""
    return messages.c.superseded_at.is_(None)


TEXTS = (messages.c.content, messages.c.edited_content, messages.c.reasoning)
"""What a row of a message is long by."""

NO_FAILURE = literal_column("null", ARRAY(Text)).label("failure")
"""`failure_of` a message that is new."""


def failure_of(message: FromClause) -> ColumnElement[Sequence[str] | None]:
    """`failure`: error code and message of the newest run that was to answer a user message, if it failed; else null.

    `message` has the columns of `messages`.
    """
    current = runs.alias("current_run")
    answered = exists().where(
        current.c.conversation_id == runs.c.conversation_id,
        current.c.trigger_message_id == runs.c.trigger_message_id,
        is_current(current),
    )
    failed = (runs.c.status == literal_column("'failed'")) & ~answered
    newest_before = (
        select(case((failed, array([runs.c.error_code, runs.c.error_message]))))
        .where(runs.c.trigger_message_id == message.c.id, is_past(runs))
        .order_by(runs.c.started_at.desc())
        .limit(1)
        .correlate(message)
        .scalar_subquery()
    )
    return case((message.c.role == literal_column("'user'"), newest_before)).label("failure")


# --- statements -------------------------------------------------------------------------------------------


def _insert() -> Any:
    """Update the conversation first, then insert the message with the conversation's new position and time.

    The update makes the messages of one conversation wait for each other, so their order is total.
    """
    earlier = messages.alias()
    names_it = (
        (bindparam("new_role") == literal_column("'user'"))
        & conversations.c.title.is_(None)
        & ~exists().where(earlier.c.conversation_id == conversations.c.id, earlier.c.role == literal_column("'user'"))
    )
    counted = (
        update(conversations)
        .where(visible())
        .values(
            last_position=conversations.c.last_position + 1,
            updated_at=moved(),
            title=case(
                (names_it, bindparam("first_line", type_=conversations.c.title.type)), else_=conversations.c.title
            ),
        )
        .returning(conversations.c.id, conversations.c.last_position, conversations.c.updated_at)
        .cte("counted")
    )
    given = (
        "role",
        "content",
        "agent_id",
        "author",
        "reply_to",
        "status",
        "input_tokens",
        "output_tokens",
        "model",
        "stop_reason",
        "duration_ms",
        "reasoning",
        "reasoning_ms",
    )
    columns = {
        "id": bindparam("message", type_=messages.c.id.type),
        "conversation_id": counted.c.id,
        "position": counted.c.last_position,
        "created_at": counted.c.updated_at,
        **{name: bindparam(f"new_{name}", type_=messages.c[name].type) for name in given},
    }
    return insert(messages).from_select(list(columns), select(*columns.values())).returning(messages, NO_FAILURE)


_FIND = (
    select(messages, failure_of(messages))
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(visible(), messages.c.id == bindparam("message", type_=messages.c.id.type))
)
_WRITTEN_BY: Select[Any] = (
    select(conversations.c.company_id, messages.c.role, messages.c.author)
    .join_from(messages, conversations, conversations.c.id == messages.c.conversation_id)
    .where(visible(), messages.c.id == bindparam("message", type_=messages.c.id.type))
)


@cache
def _page(order: Order, superseded: Superseded, *, resumed: bool, versions: bool) -> Select[Any]:
    """One row without a message (`id` is null) if the page is empty; no row if there is no such conversation."""
    list_order = _ORDERS[order]
    by_position = list_order.by(messages.c.position)
    rows = select(messages).where(messages.c.conversation_id == bindparam("conversation"))
    if resumed:
        rows = rows.where(list_order.after(messages.c.position))
    if superseded == "exclude":
        rows = rows.where(live())
    size = text_bytes(*TEXTS)
    page = with_places(rows.order_by(*by_position).limit(bindparam("rows")), size, by_position).subquery("page")
    listed = conversations.outerjoin(page, within_bytes(page))
    columns = [*page.c, failure_of(page), conversations.c.company_id]
    if versions:
        former = former_answers_of(page)
        listed = listed.outerjoin(former, true())
        columns += former.c
    return select(*columns).select_from(listed).where(visible()).order_by(*list_order.by(page.c.position))


_INSERT = _insert()
_HISTORY = (
    select(
        messages.c.id,
        messages.c.role,
        effective_content().label("content"),
        messages.c.agent_id,
        messages.c.reply_to,
        messages.c.position,
    )
    .where(messages.c.conversation_id == bindparam("conversation"), live())
    .order_by(messages.c.position)
)


# --- functions --------------------------------------------------------------------------------------------


def insert_message(
    connection: Connection,
    *,
    companies: Companies,
    conversation_id: UUID,
    role: str,
    content: str,
    agent_id: UUID | None = None,
    author: str | None = None,
    reply_to: UUID | None = None,
    status: str = "completed",
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    model: str | None = None,
    stop_reason: str | None = None,
    duration_ms: int | None = None,
    reasoning: str | None = None,
    reasoning_ms: int | None = None,
    message_id: UUID | None = None,
) -> Row[Any] | None:
    """Append a message, in one statement; the first user message names a conversation that has no title.

    `author` None: an agent wrote it, or somebody who is not signed in. `message_id` None: a new id. None: there is no
    such conversation.
    """
    values = {
        "companies": companies_parameter(companies),
        "conversation": conversation_id,
        "message": message_id or uuid7(),
        "new_role": role,
        "new_content": content,
        "new_agent_id": agent_id,
        "new_author": author,
        "new_reply_to": reply_to,
        "new_status": status,
        "new_input_tokens": input_tokens,
        "new_output_tokens": output_tokens,
        "new_model": model,
        "new_stop_reason": stop_reason,
        "new_duration_ms": duration_ms,
        "new_reasoning": reasoning,
        "new_reasoning_ms": reasoning_ms,
        "first_line": first_line(content) if role == "user" else None,
    }
    row: Row[Any] | None = connection.execute(_INSERT, values).one_or_none()
    return row


def find(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> Row[Any] | None:
    """A message of the conversation, superseded or not."""
    values = {
        "companies": companies_parameter(companies),
        "conversation": conversation_id,
        "message": message_id,
    }
    return connection.execute(_FIND, values).one_or_none()


def written_by(
    connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID
) -> Row[Any] | None:
    """`company_id role author` of a message of the conversation, superseded or not."""
    values = {
        "companies": companies_parameter(companies),
        "conversation": conversation_id,
        "message": message_id,
    }
    return connection.execute(_WRITTEN_BY, values).one_or_none()


def history(connection: Connection, conversation_id: UUID) -> Sequence[Row[Any]]:
    """All live messages in ascending order: `id role content agent_id reply_to position`, with effective contents."""
    return connection.execute(_HISTORY, {"conversation": conversation_id}).all()


def list_page(
    connection: Connection,
    companies: Companies,
    conversation_id: UUID,
    *,
    limit: int,
    cursor: str | None = None,
    order: Order = "asc",
    superseded: Superseded = "exclude",
    versions: bool = False,
) -> tuple[keyset.Slice, UUID] | None:
    """A page of a conversation's messages by position, bounded in bytes, and the conversation's company.

    `versions`: the rows have the columns of `former_answers_of` as well. None: there is no such conversation.
    Raises ValidationError for a cursor of another list.
    """
    list_order, filters = _ORDERS[order], (conversation_id, order, superseded)
    values = {
        "companies": companies_parameter(companies),
        "conversation": conversation_id,
        "rows": limit,
        **list_order.resume(filters, cursor),
    }
    rows = connection.execute(_page(order, superseded, resumed=cursor is not None, versions=versions), values).all()
    if not rows:
        return None
    page = list_order.slice([row for row in rows if row.id is not None], filters, followed=bool(rows[-1].followed))
    return page, rows[0].company_id
