"""The company of a resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, Table, bindparam, select

from chatserver.storage.tables import agents, conversations


def _company_of(table: Table) -> Select[Any]:
    return select(table.c.company_id).where(table.c.id == bindparam("resource"))


_BY_KIND: Mapping[str, Select[Any]] = {
    "conversations": _company_of(conversations),
    "agents": _company_of(agents),
}


def company_of(connection: Connection, kind: str, resource_id: UUID) -> UUID | None:
    """The company of a resource, deleted or not; None: there is no such resource.

    Whose it is must not be told to others. `kind`: the resource's segment in paths.
    """
    company_id: UUID | None = connection.execute(_BY_KIND[kind], {"resource": resource_id}).scalar_one_or_none()
    return company_id
