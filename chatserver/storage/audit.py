"""The audit log: entries are added, read, and removed when they are too old. A trigger refuses all else.

An entry that tells of a change is added in the transaction of the change: neither is there without the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Connection, Row, Text, Uuid, bindparam, delete, func, insert, or_, select, tuple_

from chatserver.audit_events import AuditEvent
from chatserver.ids import uuid7
from chatserver.logs import request_id
from chatserver.origin import origin
from chatserver.storage.access_tables import audit
from chatserver.storage.tables import Moment

# A trigger lets rows be deleted in a transaction that has this setting.
_REMOVING = select(func.set_config("chatserver.audit_retention", "on", True))

_INSERT = insert(audit).values(
    at=func.clock_timestamp(),
    **{column.name: bindparam(f"new_{column.name}", type_=column.type) for column in audit.c if column.name != "at"},
)
_EVER = datetime.min.replace(tzinfo=UTC)
_since = bindparam("since", type_=Moment)
_company = bindparam("company", type_=Uuid())
_PAGE = (
    select(audit)
    .where(
        audit.c.at >= _since,
        or_(_company.is_(None), audit.c.company_id == _company),
    )
    .order_by(audit.c.at, audit.c.id)
    .limit(bindparam("rows", type_=BigInteger()))
)
_NEXT_PAGE = _PAGE.where(
    tuple_(audit.c.at, audit.c.id) > tuple_(bindparam("after_at", type_=Moment), bindparam("after_id", type_=Uuid()))
)
_REMOVE = delete(audit).where(
    audit.c.id.in_(
        select(audit.c.id)
        .where(audit.c.at < func.now() - func.make_interval(0, 0, 0, bindparam("days")))
        .order_by(audit.c.at)
        .limit(bindparam("rows", type_=BigInteger()))
    )
)
_MAY_REMOVE = select(func.has_table_privilege(bindparam("table", audit.name, type_=Text()), "DELETE"))


def record(
    connection: Connection, event: AuditEvent, *, actor: str | None = None, token_id: UUID | None = None
) -> None:
    """Add an entry about what this context does, with the request that it serves.

    `actor` and `token_id`: in place of who sent the request, for one that was not signed in before.
    """
    connection.execute(_INSERT, row_of(event, actor=actor, token_id=token_id))


def row_of(event: AuditEvent, *, actor: str | None = None, token_id: UUID | None = None) -> dict[str, Any]:
    """The parameters of an entry's insert. See `record`."""
    request = origin.get()
    return {
        "new_id": uuid7(),
        "new_version": event.version,
        "new_event": event.name,
        "new_company_id": event.company_id,
        "new_actor": actor if actor is not None or request is None else request.actor,
        "new_token_id": token_id if token_id is not None or request is None else request.token_id,
        "new_address": None if request is None else request.sender.client,
        "new_request_id": None if request is None else request_id.get(),
        "new_details": event.details(),
    }


def page(
    connection: Connection,
    *,
    since: datetime | None = None,
    company_id: UUID | None = None,
    after: Row[Any] | None = None,
    limit: int,
) -> Sequence[Row[Any]]:
    """The oldest entries, from `since` on, of one company or of all, behind the entry `after`."""
    values: dict[str, Any] = {"since": since or _EVER, "company": company_id, "rows": limit}
    if after is None:
        return connection.execute(_PAGE, values).all()
    return connection.execute(_NEXT_PAGE, {**values, "after_at": after.at, "after_id": after.id}).all()


def remove_older(connection: Connection, days: int, limit: int) -> int:
    """Remove the oldest entries that are older than so many days, `limit` at most; how many they were.

    To be called in a transaction. A role that may not delete entries removes none: then somebody else does.
    """
    if not connection.execute(_MAY_REMOVE).scalar_one():
        return 0
    connection.execute(_REMOVING)
    return connection.execute(_REMOVE, {"days": days, "rows": limit}).rowcount
