"""Messages. They are never deleted: a rewind supersedes them, and they stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from chatserver.ids import uuid7
from chatserver.storage import keyset
from chatserver.storage.conversations import moved, visible
from chatserver.storage.page_bytes import text_bytes, with_places, within_bytes
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.tables import conversations, messages
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
    given = ("role", "content", "agent_id", "reply_to", "status", "input_tokens", "output_tokens")
    columns = {
        "id": bindparam("message", type_=messages.c.id.type),
        "conversation_id": counted.c.id,
        "position": counted.c.last_position,
        "created_at": counted.c.updated_at,
        **{name: bindparam(f"new_{name}", type_=messages.c[name].type) for name in given},
    }
    return insert(messages).from_select(list(columns), select(*columns.values())).returning(messages)


_FIND = (
    select(messages)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(visible(), messages.c.id == bindparam("message", type_=messages.c.id.type))
)


def _edit() -> Any:
    edited = messages.alias()
    message_id = bindparam("message", type_=messages.c.id.type)
    touched = (
        update(conversations)
        .where(visible(), exists().where(edited.c.id == message_id, edited.c.conversation_id == conversations.c.id))
        .values(updated_at=moved())
        .returning(conversations.c.id, conversations.c.updated_at)
        .cte("touched")
    )
    return (
        update(messages)
        .where(messages.c.id == message_id, messages.c.conversation_id == touched.c.id)
        .values(edited_content=bindparam("new_content"), edited_at=touched.c.updated_at)
        .returning(messages)
    )


@cache
def _page(order: Order, superseded: Superseded, *, resumed: bool) -> Select[Any]:
    """One row without a message (`id` is null) if the page is empty; no row if there is no such conversation."""
    list_order = _ORDERS[order]
    by_position = list_order.by(messages.c.position)
    rows = select(messages).where(messages.c.conversation_id == bindparam("conversation"))
    if resumed:
        rows = rows.where(list_order.after(messages.c.position))
    if superseded == "exclude":
        rows = rows.where(live())
    size = text_bytes(messages.c.content, messages.c.edited_content)
    page = with_places(rows.order_by(*by_position).limit(bindparam("rows")), size, by_position).subquery("page")
    return (
        select(page, conversations.c.company_id)
        .select_from(conversations.outerjoin(page, within_bytes(page)))
        .where(visible())
        .order_by(*list_order.by(page.c.position))
    )


_INSERT = _insert()
_EDIT = _edit()
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
    reply_to: UUID | None = None,
    status: str = "completed",
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    message_id: UUID | None = None,
) -> Row[Any] | None:
    """Append a message, in one statement; the first user message names a conversation that has no title.

    `message_id` None: a new id. None: there is no such conversation.
    """
    values = {
        "companies": companies_parameter(companies),
        "conversation": conversation_id,
        "message": message_id or uuid7(),
        "new_role": role,
        "new_content": content,
        "new_agent_id": agent_id,
        "new_reply_to": reply_to,
        "new_status": status,
        "new_input_tokens": input_tokens,
        "new_output_tokens": output_tokens,
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


def edit(
    connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID, content: str
) -> Row[Any] | None:
    """Change the effective content of a message; None: the conversation has no such message."""
    values = {
        "companies": companies_parameter(companies),
        "conversation": conversation_id,
        "message": message_id,
        "new_content": content,
    }
    row: Row[Any] | None = connection.execute(_EDIT, values).one_or_none()
    return row


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
) -> tuple[keyset.Slice, UUID] | None:
    """A page of a conversation's messages by position, bounded in bytes, and the conversation's company.

    None: there is no such conversation.
    Raises ValidationError for a cursor of another list.
    """
    list_order, filters = _ORDERS[order], (conversation_id, order, superseded)
    values = {
        "companies": companies_parameter(companies),
        "conversation": conversation_id,
        "rows": limit,
        **list_order.resume(filters, cursor),
    }
    rows = connection.execute(_page(order, superseded, resumed=cursor is not None), values).all()
    if not rows:
        return None
    page = list_order.slice([row for row in rows if row.id is not None], filters, followed=bool(rows[-1].followed))
    return page, rows[0].company_id
