"""Conversations. Only `restore`, and erasing, finds a deleted one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Join,
    Row,
    Select,
    Uuid,
    bindparam,
    column,
    func,
    insert,
    literal_column,
    select,
    true,
    union_all,
    update,
)

from chatserver.ids import uuid7
from chatserver.storage import keyset
from chatserver.storage.scope import Companies, companies_parameter, in_scope
from chatserver.storage.search.folding import fold
from chatserver.storage.tables import Moment, conversations, runs

Archived = Literal["false", "true", "all"]


def later_than(time: ColumnElement[datetime], now: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """`now`, but later than another time, whatever the clock says."""
    return func.greatest(now, time + literal_column("interval '1 ms'"))


def moved() -> ColumnElement[datetime]:
    """The next `updated_at` of a conversation."""
    return later_than(conversations.c.updated_at, func.clock_timestamp())


def visible() -> ColumnElement[bool]:
    """The criterion for the conversation in the parameters `conversation` and `companies`, if it is not deleted."""
    return named() & conversations.c.deleted_at.is_(None)


def named() -> ColumnElement[bool]:
    """The criterion for the conversation in the parameters `conversation` and `companies`, deleted or not."""
    return (conversations.c.id == bindparam("conversation")) & in_scope(conversations.c.company_id)


RUN_COLUMNS = (column("run_id", Uuid), column("run_trigger_id", Uuid), column("run_started_at", Moment))
"""The columns of `activeRun`."""


def with_active_run(source: FromClause, conversation_id: ColumnElement[UUID]) -> Join:
    """`source` with RUN_COLUMNS for the active run of each row's conversation, None if there is none.

    A run whose lease has expired does not count.
    """
    run = (
        select(
            runs.c.id.label("run_id"),
            runs.c.trigger_message_id.label("run_trigger_id"),
            runs.c.started_at.label("run_started_at"),
        )
        .where(
            runs.c.conversation_id == conversation_id,
            # Written out, not a parameter: so the planner sees that the partial index fits.
            runs.c.status == literal_column("'active'"),
            runs.c.lease_until > func.clock_timestamp(),
        )
        # Looked up for each row by the index. Else, if hardly any run was active when PostgreSQL last gathered its
        # statistics, it would read all active ones instead.
        .offset(literal_column("0"))
        .lateral("active_run")
    )
    return source.outerjoin(run, true())


def _with_run(source: FromClause) -> Select[Any]:
    """Rows of conversations with the columns of `activeRun`."""
    return select(source, *RUN_COLUMNS).select_from(with_active_run(source, source.c.id))


def _changed(criterion: ColumnElement[bool], values: Mapping[str, Any]) -> Select[Any]:
    return _with_run(update(conversations).where(criterion).values(values).returning(conversations).cte("changed"))


# --- statements -------------------------------------------------------------------------------------------

_INSERT = _with_run(
    insert(conversations)
    .values(
        id=bindparam("new_id"),
        company_id=bindparam("company"),
        title=bindparam("new_title"),
        agent_id=bindparam("new_agent_id"),
        created_at=func.now(),
        updated_at=func.now(),
    )
    .returning(conversations)
    .cte("created")
)
_FIND = _with_run(conversations).where(visible())
_LOCK = select(conversations.c.id).where(visible()).with_for_update(key_share=True)
_SOFT_DELETE = (
    update(conversations).where(visible()).values(deleted_at=func.clock_timestamp()).returning(conversations.c.id)
)
_RESTORE = _changed(named(), {"deleted_at": None})
_ARCHIVE = _changed(visible(), {"archived_at": func.coalesce(conversations.c.archived_at, func.clock_timestamp())})
_UNARCHIVE = _changed(visible(), {"archived_at": None})
_PIN = _changed(visible(), {"pinned_at": func.coalesce(conversations.c.pinned_at, func.clock_timestamp())})
_UNPIN = _changed(visible(), {"pinned_at": None})


@cache
def _update(names: frozenset[str]) -> Select[Any]:
    return _changed(visible(), {"updated_at": moved(), **{name: bindparam(f"new_{name}") for name in names}})


_ORDER = keyset.ListOrder("conversations", descending=True, pinned=bool, updated_at=datetime, id=UUID)


@cache
def _page(archived: Archived, *, by_agent: bool, by_title: bool, resumed: bool) -> Select[Any]:
    # Active and archived conversations have an index each, in the order of the list. There is none for both together.
    archives = {"false": (False,), "true": (True,), "all": (False, True)}[archived]
    parts = [
        _part(in_archive, by_agent=by_agent, by_title=by_title, resumed=resumed).subquery() for in_archive in archives
    ]
    page = union_all(*map(select, parts)).subquery("page") if len(parts) > 1 else parts[0]
    order = _ORDER.by(page.c.pinned, page.c.updated_at, page.c.id)
    return _with_run(page).order_by(*order).limit(bindparam("rows", type_=BigInteger()))


def _part(in_archive: bool, *, by_agent: bool, by_title: bool, resumed: bool) -> Select[Any]:
    pinned = conversations.c.pinned_at.is_not(None)
    key = (pinned, conversations.c.updated_at, conversations.c.id)
    part = (
        select(conversations, pinned.label("pinned"))
        .where(
            conversations.c.company_id == bindparam("company"),
            conversations.c.deleted_at.is_(None),
            conversations.c.archived_at.is_not(None) if in_archive else conversations.c.archived_at.is_(None),
        )
        .order_by(*_ORDER.by(*key))
        .limit(bindparam("rows", type_=BigInteger()))
    )
    if by_agent:
        part = part.where(conversations.c.agent_id == bindparam("agent"))
    if by_title:
        part = part.where(conversations.c.folded_title.like(bindparam("title_pattern")))
    if resumed:
        part = part.where(_ORDER.after(*key))
    return part


# --- functions --------------------------------------------------------------------------------------------


def create(connection: Connection, *, company_id: UUID, title: str | None, agent_id: UUID | None) -> Row[Any]:
    values = {"new_id": uuid7(), "company": company_id, "new_title": title, "new_agent_id": agent_id}
    return connection.execute(_INSERT, values).one()


def find(connection: Connection, companies: Companies, conversation_id: UUID) -> Row[Any] | None:
    return _one(connection, _FIND, companies, conversation_id)


def lock(connection: Connection, companies: Companies, conversation_id: UUID) -> bool:
    """Lock a conversation until the transaction ends; False: there is none."""
    return _one(connection, _LOCK, companies, conversation_id) is not None


def change(
    connection: Connection, companies: Companies, conversation_id: UUID, changes: Mapping[str, Any]
) -> Row[Any] | None:
    """Set the columns in `changes` (`title`, `agent_id`), and in any case `updated_at`."""
    values = {f"new_{name}": value for name, value in changes.items()}
    return _one(connection, _update(frozenset(changes)), companies, conversation_id, values)


def soft_delete(connection: Connection, companies: Companies, conversation_id: UUID) -> bool:
    """Delete a conversation; False: there is none."""
    return _one(connection, _SOFT_DELETE, companies, conversation_id) is not None


def restore(connection: Connection, companies: Companies, conversation_id: UUID) -> Row[Any] | None:
    return _one(connection, _RESTORE, companies, conversation_id)


def archive(connection: Connection, companies: Companies, conversation_id: UUID) -> Row[Any] | None:
    return _one(connection, _ARCHIVE, companies, conversation_id)


def unarchive(connection: Connection, companies: Companies, conversation_id: UUID) -> Row[Any] | None:
    return _one(connection, _UNARCHIVE, companies, conversation_id)


def pin(connection: Connection, companies: Companies, conversation_id: UUID) -> Row[Any] | None:
    return _one(connection, _PIN, companies, conversation_id)


def unpin(connection: Connection, companies: Companies, conversation_id: UUID) -> Row[Any] | None:
    return _one(connection, _UNPIN, companies, conversation_id)


def list_page(
    connection: Connection,
    *,
    company_id: UUID,
    limit: int,
    cursor: str | None = None,
    archived: Archived = "false",
    agent_id: UUID | None = None,
    title_contains: str | None = None,
) -> keyset.Slice:
    """A page of a company's conversations: pinned first, then the newest by `updated_at`.

    Raises ValidationError for a cursor of another list.
    """
    filters = (company_id, archived, agent_id, title_contains)
    values: dict[str, Any] = {"company": company_id, "rows": limit + 1, **_ORDER.resume(filters, cursor)}
    if agent_id is not None:
        values["agent"] = agent_id
    if title_contains is not None:
        values["title_pattern"] = f"%{_literal_pattern(fold(title_contains))}%"
    statement = _page(
        archived, by_agent=agent_id is not None, by_title=title_contains is not None, resumed=cursor is not None
    )
    return _ORDER.cut(connection.execute(statement, values).all(), limit, filters)


def _one(
    connection: Connection,
    statement: Any,
    companies: Companies,
    conversation_id: UUID,
    values: Mapping[str, Any] | None = None,
) -> Row[Any] | None:
    parameters = {"conversation": conversation_id, "companies": companies_parameter(companies), **(values or {})}
    row: Row[Any] | None = connection.execute(statement, parameters).one_or_none()
    return row


def _literal_pattern(text: str) -> str:
    """`text` as a LIKE pattern that matches itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
