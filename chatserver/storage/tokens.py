"""Tokens, as those who give them out see them: each change has its entry in the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Uuid,
    any_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from chatserver.audit_events import TokenChanged, TokenCreated, TokenRevoked
from chatserver.errors import ConflictError, NotFoundError
from chatserver.ids import uuid7
from chatserver.storage import audit
from chatserver.storage.access_tables import sessions, tokens
from chatserver.storage.token_validity import IS_VALID

_id = bindparam("token", type_=Uuid())
_company = bindparam("company", type_=Uuid())
_days = bindparam("days", type_=Integer())

_INSERT = (
    insert(tokens)
    .values(
        id=bindparam("new_id"),
        digest=bindparam("new_digest"),
        company_id=bindparam("new_company_id"),
        name=bindparam("new_name"),
        role=bindparam("new_role"),
        created_at=func.clock_timestamp(),
        expires_at=case((_days > 0, func.clock_timestamp() + func.make_interval(0, 0, 0, _days))),
    )
    .returning(tokens)
)
_LIST = (
    select(tokens)
    .where(or_(bindparam("all", type_=Boolean()), tokens.c.company_id == _company))
    .order_by(tokens.c.created_at, tokens.c.id)
)
_LOCK = select(tokens).where(tokens.c.id == _id).with_for_update()
_CHANGE = update(tokens).where(tokens.c.id == _id).values(role=bindparam("new_role"))
_END_SESSIONS = delete(sessions).where(sessions.c.token_id == any_(bindparam("token_ids", type_=ARRAY(Uuid))))
_LEFT = text(f"SELECT EXISTS (SELECT FROM api_tokens AS t WHERE {IS_VALID})")  # noqa: S608 (a constant is put in)


def _revocation(criterion: ColumnElement[bool]) -> Any:
    return (
        update(tokens)
        .where(criterion, tokens.c.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
        .returning(tokens.c.id, tokens.c.company_id, tokens.c.name)
    )


_REVOKE = _revocation(tokens.c.id == _id)
_REVOKE_ALL = _revocation(tokens.c.company_id.is_not_distinct_from(_company))


def create(
    connection: Connection, *, digest: bytes, company_id: UUID | None, name: str, role: str, expires_days: int
) -> Row[Any]:
    """Add a token. `company_id` None: an administrator's. `expires_days` 0: it never expires."""
    values = {
        "new_id": uuid7(),
        "new_digest": digest,
        "new_company_id": company_id,
        "new_name": name,
        "new_role": role,
        "days": expires_days,
    }
    row = connection.execute(_INSERT, values).one()
    event = TokenCreated(company_id=company_id, token_id=row.id, token_name=name, role=role, expires_at=row.expires_at)
    audit.record(connection, event)
    return row


def every(connection: Connection, company_id: UUID | None = None) -> Sequence[Row[Any]]:
    """All tokens, the oldest first. `company_id`: only those of this company."""
    return connection.execute(_LIST, {"all": company_id is None, "company": company_id}).all()


def revoke(connection: Connection, token_id: UUID) -> Row[Any]:
    """Revoke a token, and end its sessions. It may have been revoked before. Raises NotFoundError."""
    row = _find(connection, token_id)
    _told(connection, connection.execute(_REVOKE, {"token": token_id}).all())
    return row


def revoke_all(connection: Connection, company_id: UUID | None) -> int:
    """Revoke all tokens of a company, and end their sessions; how many. None: those of the administrators."""
    return _told(connection, connection.execute(_REVOKE_ALL, {"company": company_id}).all())


def change(connection: Connection, token_id: UUID, role: str) -> Row[Any]:
    """Give a token another role: it has that from its next request on. The token as it was.

    Raises NotFoundError, and ConflictError for an administrator's token, and for one that was revoked.
    """
    row = _find(connection, token_id)
    if row.revoked_at is not None:
        raise ConflictError("The token was revoked")
    if row.company_id is None:
        raise ConflictError("The token is an administrator's: its role cannot be changed")
    if row.role != role:
        connection.execute(_CHANGE, {"token": token_id, "new_role": role})
        event = TokenChanged(
            company_id=row.company_id, token_id=token_id, token_name=row.name, former_role=row.role, role=role
        )
        audit.record(connection, event)
    return row


def are_there(connection: Connection) -> bool:
    """Whether there is a token that lets somebody in."""
    found: bool = connection.execute(_LEFT).scalar_one()
    return found


def _find(connection: Connection, token_id: UUID) -> Row[Any]:
    row: Row[Any] | None = connection.execute(_LOCK, {"token": token_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no token {token_id}")
    return row


def _told(connection: Connection, revoked: Sequence[Row[Any]]) -> int:
    """End the sessions of tokens that were revoked just now, and write it down; how many tokens."""
    _end_sessions(connection, (row.id for row in revoked))
    for row in revoked:
        audit.record(connection, TokenRevoked(company_id=row.company_id, token_id=row.id, token_name=row.name))
    return len(revoked)


def _end_sessions(connection: Connection, token_ids: Iterable[UUID]) -> None:
    if ids := list(token_ids):
        connection.execute(_END_SESSIONS, {"token_ids": ids})
