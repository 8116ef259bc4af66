"""Bookmarks: messages that a company wants to find again."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from chatserver.storage import keyset, message_rows
from chatserver.storage.conversations import visible, with_active_run
from chatserver.storage.messages import TEXTS, live
from chatserver.storage.page_bytes import text_bytes, with_places, within_bytes
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.tables import bookmarks, conversations, messages

_ORDER = keyset.ListOrder("bookmarks", descending=True, bookmarked_at=datetime, bookmark_id=UUID)

_TARGET = (
    select(messages.c.id, conversations.c.company_id)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(visible(), messages.c.id == bindparam("message"))
)


def _add() -> Select[Any]:
    # Locked: else it may be erased before the bookmark refers to it.
    target = _TARGET.where(live()).with_for_update(read=True, key_share=True, of=messages).cte("target")
    added = (
        insert(bookmarks)
        .from_select(
            ["message_id", "company_id", "created_at"],
            select(target.c.id, target.c.company_id, func.clock_timestamp()),
        )
        .on_conflict_do_nothing()
        .cte("added")
    )
    return select(target.c.id).add_cte(added)


def _remove() -> Select[Any]:
    target = _TARGET.cte("target")
    removed = delete(bookmarks).where(bookmarks.c.message_id.in_(select(target.c.id))).cte("removed")
    return select(target.c.id).add_cte(removed)


_ADD = _add()
_REMOVE = _remove()


@cache
def _page(*, resumed: bool) -> Select[Any]:
    key = (bookmarks.c.created_at, bookmarks.c.message_id)
    rows = (
        select(bookmarks.c.created_at, bookmarks.c.message_id)
        .join(messages, messages.c.id == bookmarks.c.message_id)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .where(bookmarks.c.company_id == bindparam("company"), live(), conversations.c.deleted_at.is_(None))
        .order_by(*_ORDER.by(*key))
        .limit(bindparam("rows"))
    )
    if resumed:
        rows = rows.where(_ORDER.after(*key))
    size = text_bytes(*TEXTS)
    page = with_places(rows, size, _ORDER.by(*key)).subquery("page")
    source = page.join(messages, messages.c.id == page.c.message_id).join(
        conversations, conversations.c.id == messages.c.conversation_id
    )
    return (
        select(
            page.c.created_at.label("bookmarked_at"),
            page.c.message_id.label("bookmark_id"),
            page.c.followed,
            *message_rows.COLUMNS,
        )
        .select_from(with_active_run(source, conversations.c.id))
        .where(within_bytes(page))
        .order_by(*_ORDER.by(page.c.created_at, page.c.message_id))
    )


def add(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> bool:
    """Bookmark a live message, unless it is already; False: the conversation has no such message."""
    return connection.execute(_ADD, _named(companies, conversation_id, message_id)).first() is not None


def remove(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> bool:
    """Remove a bookmark, if there is one; False: the conversation has no such message."""
    return connection.execute(_REMOVE, _named(companies, conversation_id, message_id)).first() is not None


def list_page(connection: Connection, *, company_id: UUID, limit: int, cursor: str | None = None) -> keyset.Slice:
    """A page of a company's bookmarks, newest first: rows of `message_rows.COLUMNS` and `bookmarked_at`.

    It is bounded in bytes. Bookmarks of superseded messages and of deleted conversations are left out.
    Raises ValidationError for a cursor of another list.
    """
    filters = (company_id,)
    values = {"company": company_id, "rows": limit, **_ORDER.resume(filters, cursor)}
    rows = connection.execute(_page(resumed=cursor is not None), values).all()
    return _ORDER.slice(rows, filters, followed=bool(rows) and rows[-1].followed)


def _named(companies: Companies, conversation_id: UUID, message_id: UUID) -> dict[str, Any]:
    return {
        "companies": companies_parameter(companies),
        "conversation": conversation_id,
        "message": message_id,
    }
