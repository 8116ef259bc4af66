"""The company of a resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, Table, bindparam, select

from chatserver.storage.scope import Companies, companies_parameter, in_scope
from chatserver.storage.tables import agents, conversations


def _company_of(table: Table) -> Select[Any]:
    return select(table.c.company_id).where(table.c.id == bindparam("resource"), in_scope(table.c.company_id))


_BY_KIND: Mapping[str, Select[Any]] = {
    "conversations": _company_of(conversations),
    "agents": _company_of(agents),
}


def company_of(connection: Connection, kind: str, companies: Companies, resource_id: UUID) -> UUID | None:
    """The company of a resource, deleted or not; None: it does not exist for these companies.

    `kind`: the resource's segment in paths.
    """
    given = {"resource": resource_id, "companies": companies_parameter(companies)}
    company_id: UUID | None = connection.execute(_BY_KIND[kind], given).scalar_one_or_none()
    return company_id
