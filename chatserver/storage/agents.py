"""Agents. A deleted one cannot be found, but its row stays: old answers keep the name of their author."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, Text, bindparam, cast, func, insert, select, update

from chatserver.ids import uuid7
from chatserver.storage import keyset
from chatserver.storage.page_bytes import text_bytes, with_places, within_bytes
from chatserver.storage.scope import Companies, companies_parameter, in_scope
from chatserver.storage.tables import agents

AgentStatusFilter = Literal["active", "all"]

_ORDER = keyset.ListOrder("agents", created_at=datetime, id=UUID)


def _visible() -> ColumnElement[bool]:
    return (agents.c.id == bindparam("agent")) & in_scope(agents.c.company_id) & agents.c.deleted_at.is_(None)


_INSERT = (
    insert(agents)
    .values(
        id=bindparam("new_id"),
        company_id=bindparam("company"),
        name=bindparam("new_name"),
        adapter_type=bindparam("new_adapter_type"),
        adapter_config=bindparam("new_adapter_config"),
        created_at=func.now(),
        updated_at=func.now(),
    )
    .returning(agents)
)
_GET = select(agents).where(_visible())
_LOCK = _GET.with_for_update()
_FIND = select(agents).where(
    agents.c.id == bindparam("agent"), agents.c.company_id == bindparam("company"), agents.c.deleted_at.is_(None)
)
_UPDATE = (
    update(agents)
    .where(_visible())
    .values(
        name=bindparam("new_name"),
        adapter_type=bindparam("new_adapter_type"),
        adapter_config=bindparam("new_adapter_config"),
        updated_at=func.clock_timestamp(),
    )
    .returning(agents)
)
_SOFT_DELETE = update(agents).where(_visible()).values(deleted_at=func.clock_timestamp()).returning(agents)


@cache
def _page(status: AgentStatusFilter, *, resumed: bool) -> Select[Any]:
    key = (agents.c.created_at, agents.c.id)
    rows = (
        select(agents)
        .where(agents.c.company_id == bindparam("company"))
        .order_by(*_ORDER.by(*key))
        .limit(bindparam("rows"))
    )
    if status == "active":
        rows = rows.where(agents.c.deleted_at.is_(None))
    if resumed:
        rows = rows.where(_ORDER.after(*key))
    size = text_bytes(cast(agents.c.adapter_config, Text))
    page = with_places(rows, size, _ORDER.by(*key)).subquery("page")
    return select(page).where(within_bytes(page)).order_by(*_ORDER.by(page.c.created_at, page.c.id))


def create(
    connection: Connection, *, company_id: UUID, name: str, adapter_type: str, adapter_config: Mapping[str, Any]
) -> Row[Any]:
    values = {
        "new_id": uuid7(),
        "company": company_id,
        "new_name": name,
        "new_adapter_type": adapter_type,
        "new_adapter_config": adapter_config,
    }
    return connection.execute(_INSERT, values).one()


def get(connection: Connection, companies: Companies, agent_id: UUID) -> Row[Any] | None:
    return connection.execute(_GET, _named(companies, agent_id)).one_or_none()


def lock(connection: Connection, companies: Companies, agent_id: UUID) -> Row[Any] | None:
    """`get`, and keep others from changing the agent until the transaction ends."""
    return connection.execute(_LOCK, _named(companies, agent_id)).one_or_none()


def find(connection: Connection, company_id: UUID, agent_id: UUID) -> Row[Any] | None:
    """The agent of that id, if it belongs to that company."""
    return connection.execute(_FIND, {"company": company_id, "agent": agent_id}).one_or_none()


def change(
    connection: Connection,
    companies: Companies,
    agent_id: UUID,
    *,
    name: str,
    adapter_type: str,
    adapter_config: Mapping[str, Any],
) -> Row[Any] | None:
    values = {"new_name": name, "new_adapter_type": adapter_type, "new_adapter_config": adapter_config}
    row: Row[Any] | None = connection.execute(_UPDATE, _named(companies, agent_id) | values).one_or_none()
    return row


def soft_delete(connection: Connection, companies: Companies, agent_id: UUID) -> Row[Any] | None:
    """Delete an agent; None: there is none."""
    row: Row[Any] | None = connection.execute(_SOFT_DELETE, _named(companies, agent_id)).one_or_none()
    return row


def list_page(
    connection: Connection,
    *,
    company_id: UUID,
    status: AgentStatusFilter = "active",
    limit: int,
    cursor: str | None = None,
) -> keyset.Slice:
    """A page of a company's agents, oldest first, bounded in bytes. `status`: "all" has the deleted ones, too.

    Raises ValidationError for a cursor of another list.
    """
    filters = (company_id, status)
    values = {"company": company_id, "rows": limit, **_ORDER.resume(filters, cursor)}
    rows = connection.execute(_page(status, resumed=cursor is not None), values).all()
    return _ORDER.slice(rows, filters, followed=bool(rows) and rows[-1].followed)


def _named(companies: Companies, agent_id: UUID) -> dict[str, Any]:
    return {"agent": agent_id, "companies": companies_parameter(companies)}
