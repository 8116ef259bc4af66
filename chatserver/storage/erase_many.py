"""Erasing many conversations, or many messages: step by step, so that no step takes long.

A step that was cut off is done again by whoever comes next: what is erased already is not found any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, Text, Uuid, any_, bindparam, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from chatserver.audit_events import AuthorErased, CompanyErased
from chatserver.storage import audit, leases
from chatserver.storage.access_tables import open_streams, tokens
from chatserver.storage.erase import ROWS_A_STATEMENT, delete_conversation
from chatserver.storage.runs import NOW
from chatserver.storage.tables import agents, conversations, messages, runs

# The most conversations that are erased in one transaction; together they have about ROWS_A_STATEMENT messages.
CONVERSATIONS_A_STEP = 50
# So many rows of a table are looked at in one statement.
ROWS_A_LOOK = 5_000
# Before and behind all ids.
FIRST = UUID(int=0)
LAST = UUID(int=2**128 - 1)

_company = bindparam("company", type_=Uuid())
_author = bindparam("author", type_=Text())
_after = bindparam("after", type_=Uuid())
_end = bindparam("end", type_=Uuid())
_ids = any_(bindparam("ids", type_=ARRAY(Uuid)))

_PAGE_END = (
    select(conversations.c.id)
    .where(conversations.c.id > _after)
    .order_by(conversations.c.id)
    .offset(bindparam("rows"))
    .limit(1)
)


def page_end(connection: Connection, after: UUID) -> UUID:
    """Where the next look ends: the table is read by ids, in pieces. LAST: there is no further one."""
    end: UUID | None = connection.execute(_PAGE_END, {"after": after, "rows": ROWS_A_LOOK - 1}).scalar_one_or_none()
    return LAST if end is None else end


def in_page() -> Any:
    """The criterion for conversations in the piece of the table from the parameter `after` to `end`."""
    return (conversations.c.id > _after) & (conversations.c.id <= _end)


def in_steps(rows: Sequence[Row[Any]]) -> Iterator[Sequence[Row[Any]]]:
    """Conversations in groups, each small enough for one transaction. Rows with `last_position`."""
    step: list[Row[Any]] = []
    size = 0
    for row in rows:
        if step and (len(step) == CONVERSATIONS_A_STEP or size + row.last_position > ROWS_A_STATEMENT):
            yield step
            step, size = [], 0
        step.append(row)
        size += row.last_position
    if step:
        yield step


# --- what others write meanwhile ----------------------------------------------------------------------------

# Locks of tables are kept until their transaction has ended and is seen by others.
_WRITERS = text(
    """
    SELECT DISTINCT virtualtransaction FROM pg_locks
    WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relation = ANY (CAST(:tables AS regclass[])) AND mode IN ('RowShareLock', 'RowExclusiveLock')
    """
)
_WRITTEN = [each.name for each in (conversations, messages, agents, tokens)]


def writers(connection: Connection) -> frozenset[str]:
    """The transactions that write, or are about to, where people's texts are; each has a name of its own."""
    return frozenset(connection.execute(_WRITERS, {"tables": _WRITTEN}).scalars())


# --- a company ----------------------------------------------------------------------------------------------

_DELETE_TOKENS = delete(tokens).where(tokens.c.company_id == _company)
_DELETE_AGENTS = delete(agents).where(agents.c.company_id == _company)
_DELETE_STREAMS = delete(open_streams).where(open_streams.c.company_id == _company)
_OF_COMPANY: Select[Any] = (
    select(conversations.c.id, conversations.c.last_position)
    .where(in_page(), conversations.c.company_id == _company)
    .order_by(conversations.c.id)
)
_HIDE = (
    update(conversations)
    .where(conversations.c.id == _ids)
    .values(deleted_at=func.coalesce(conversations.c.deleted_at, func.clock_timestamp()))
)
_ANSWERED = select(
    select(runs.c.id)
    .where(runs.c.conversation_id == _ids, runs.c.status == "active", runs.c.lease_until > NOW)
    .exists()
)
_LOCK = select(conversations.c.id).where(conversations.c.id == _ids).order_by(conversations.c.id).with_for_update()


def erase_tokens_and_agents(connection: Connection, company_id: UUID) -> tuple[int, int]:
    """Delete a company's tokens, with their sessions, and its agents; how many of each."""
    given = {"company": company_id}
    removed = connection.execute(_DELETE_TOKENS, given).rowcount, connection.execute(_DELETE_AGENTS, given).rowcount
    connection.execute(_DELETE_STREAMS, given)
    if any(removed):
        audit.record(connection, CompanyErased(company_id=company_id, tokens=removed[0], agents=removed[1]))
    return removed


def of_company(connection: Connection, company_id: UUID, after: UUID, end: UUID) -> Sequence[Any]:
    """Rows of `id last_position`: a company's conversations in a piece of the table, deleted or not."""
    rows: Sequence[Row[Any]] = connection.execute(
        _OF_COMPANY, {"company": company_id, "after": after, "end": end}
    ).all()
    return rows


def hide(connection: Connection, conversation_ids: Sequence[UUID]) -> None:
    """Delete conversations, so that no answer is begun in them, and request the stop of their answers."""
    connection.execute(_HIDE, {"ids": list(conversation_ids)})
    for conversation_id in conversation_ids:
        leases.request_stop(connection, conversation_id, keep=False)


def are_answered(connection: Connection, conversation_ids: Sequence[UUID]) -> bool:
    """Whether some process still generates an answer in one of these conversations."""
    found: bool = connection.execute(_ANSWERED, {"ids": list(conversation_ids)}).scalar_one()
    return found


def erase_of_company(connection: Connection, company_id: UUID, conversation_ids: Sequence[UUID]) -> int:
    """Erase conversations of a company; how many there still were."""
    left = connection.execute(_LOCK, {"ids": list(conversation_ids)}).scalars().all()
    for conversation_id in left:
        delete_conversation(connection, conversation_id)
    if left:
        audit.record(connection, CompanyErased(company_id=company_id, conversation_ids=tuple(left)))
    return len(left)


def complete_company(connection: Connection, company_id: UUID) -> None:
    """Write down that nothing of the company is left."""
    audit.record(connection, CompanyErased(company_id=company_id, completed=True))


# --- a person -----------------------------------------------------------------------------------------------

_OF_AUTHOR: Select[Any] = (
    select(messages.c.id, messages.c.conversation_id)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(
        messages.c.author == _author,
        or_(_company.is_(None), conversations.c.company_id == _company),
    )
    .order_by(messages.c.id)
    .limit(ROWS_A_STATEMENT)
)


def of_author(connection: Connection, author: str, company_id: UUID | None) -> Sequence[Any]:
    """Rows of `id conversation_id`: messages that a person wrote, in one company or in all, as many as one step has."""
    rows: Sequence[Row[Any]] = connection.execute(_OF_AUTHOR, {"author": author, "company": company_id}).all()
    return rows


def complete_author(connection: Connection, author: str, company_id: UUID | None, erased: int) -> None:
    """Write down that nothing is left of what a person wrote."""
    audit.record(connection, AuthorErased(company_id=company_id, author=author, messages=erased))


def request_stop(connection: Connection, conversation_id: UUID) -> None:
    """Request the stop of a conversation's answer."""
    leases.request_stop(connection, conversation_id, keep=False)
