"""What is removed because it is old: conversations, and sessions that are over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Row, text

from chatserver.audit_events import AuthorErased, CompanyErased, ConversationErased, MessageErased, RetentionErased
from chatserver.storage import audit
from chatserver.storage.erase import ROWS_A_STATEMENT, delete_conversation
from chatserver.storage.sign_in import Lifetimes

Setting = Literal["retention_days", "purge_deleted_days"]


@dataclass(frozen=True, slots=True)
class Rule:
    """After how many days; 0: never. `companies`: those for which it is another number."""

    days: int
    companies: Mapping[UUID, int]

    @property
    def is_off(self) -> bool:
        return not self.days and not any(self.companies.values())

    def parameters(self, name: str) -> dict[str, Any]:
        companies = {str(company): days for company, days in self.companies.items()}
        return {f"{name}_days": self.days, f"{name}_companies": json.dumps(companies)}


@dataclass(frozen=True, slots=True)
class Rules:
    """`retention`: for conversations that nobody touched; `purge`: for deleted ones."""

    retention: Rule
    purge: Rule

    @property
    def are_off(self) -> bool:
        return self.retention.is_off and self.purge.is_off

    def parameters(self) -> dict[str, Any]:
        return self.retention.parameters("retention") | self.purge.parameters("purge")


def _days(name: str) -> str:
    return f"coalesce((CAST(:{name}_companies AS jsonb) ->> c.company_id::text)::int, :{name}_days)"


# A pin says that somebody wants to keep it; whoever deletes a pinned conversation does not.
_IS_OLD = f"""(
    {_days("retention")} > 0 AND c.pinned_at IS NULL
    AND c.updated_at < clock_timestamp() - make_interval(days => {_days("retention")})
)"""
_WAS_DELETED = f"""(
    {_days("purge")} > 0 AND c.deleted_at < clock_timestamp() - make_interval(days => {_days("purge")})
)"""
_IS_DUE = f"""({_IS_OLD} OR {_WAS_DELETED}) AND NOT EXISTS (
    SELECT FROM chat_runs AS r
    WHERE r.conversation_id = c.id AND r.status = 'active' AND r.lease_until > clock_timestamp()
)"""

_DUE = text(
    f"""
    SELECT c.id, c.company_id, c.last_position,
        CASE WHEN {_WAS_DELETED} THEN 'purge_deleted_days' ELSE 'retention_days' END AS setting,
        CASE WHEN {_WAS_DELETED} THEN {_days("purge")} ELSE {_days("retention")} END AS days
    FROM chat_conversations AS c
    WHERE c.id > :after AND c.id <= :end AND {_IS_DUE}
    ORDER BY c.company_id, setting, c.id
    """  # noqa: S608 (only constants are put in)
)
_LOCK_DUE = text(
    f"""
    SELECT c.id FROM chat_conversations AS c WHERE c.id = ANY (:ids) AND {_IS_DUE} ORDER BY c.id
    FOR UPDATE OF c SKIP LOCKED
    """  # noqa: S608
)
_SESSIONS = text(
    """
    DELETE FROM chat_sessions WHERE id IN (
        SELECT id FROM chat_sessions
        WHERE used_at < clock_timestamp() - make_interval(secs => :idle_seconds)
            OR created_at < clock_timestamp() - make_interval(secs => :max_seconds)
        LIMIT :rows
    )
    """
)
_ERASED = text(
    """
    SELECT EXISTS (
        SELECT FROM chat_audit
        WHERE at > clock_timestamp() - make_interval(secs => :seconds) AND event = ANY (:events)
    )
    """
)
# The events that tell that texts were erased.
_ERASURES = [event.name for event in (MessageErased, ConversationErased, CompanyErased, AuthorErased, RetentionErased)]


def due(connection: Connection, rules: Rules, after: UUID, end: UUID) -> Sequence[Row[Any]]:
    """The conversations in a piece of the table that are to be erased, without those in which an answer is generated.

    Rows of `id company_id last_position setting days`, by company and setting.
    """
    return connection.execute(_DUE, {"after": after, "end": end, **rules.parameters()}).all()


def erase_due(
    connection: Connection,
    rules: Rules,
    company_id: UUID,
    setting: Setting,
    days: int,
    conversation_ids: Sequence[UUID],
) -> int:
    """Erase those of these conversations that are still due, and that nobody is using just now; how many."""
    given = {"ids": list(conversation_ids), **rules.parameters()}
    locked = connection.execute(_LOCK_DUE, given).scalars().all()
    for conversation_id in locked:
        delete_conversation(connection, conversation_id)
    if locked:
        event = RetentionErased(company_id=company_id, setting=setting, after_days=days, conversation_ids=tuple(locked))
        audit.record(connection, event)
    return len(locked)


def remove_sessions(connection: Connection, lifetimes: Lifetimes) -> int:
    """Remove sessions that are over, ROWS_A_STATEMENT at most; how many."""
    return connection.execute(_SESSIONS, {"rows": ROWS_A_STATEMENT, **lifetimes.parameters()}).rowcount


def was_erased(connection: Connection, seconds: float) -> bool:
    """Whether any text was erased in the last seconds, by requests, by the command or by the retention."""
    found: bool = connection.execute(_ERASED, {"seconds": seconds, "events": _ERASURES}).scalar_one()
    return found
