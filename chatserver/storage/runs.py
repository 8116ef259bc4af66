"""Runs of answers: they are claimed by an insert that unique indexes guard, and ended under a fence.

All times are the database's, so that processes on several machines agree on when a lease expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as pg_insert

from chatserver.sse import FIRST_EPOCH
from chatserver.storage.continuing import ASKED_TOO, HAS_ASKER, asking
from chatserver.storage.tables import IS_ACTIVE, is_current, messages, runs

NOW = func.clock_timestamp()
_WORDING = bindparam("wording", type_=runs.c.trigger_wording.type)
LEASE = NOW + func.make_interval(0, 0, 0, 0, 0, 0, bindparam("lease_seconds"))

# How long after its lease has expired a run that shall go on without readers still blocks others: some process is about
# to take it over.
ADOPTED_WITHIN: ColumnElement[Any] = literal_column("interval '1 minute'")

# --- find -------------------------------------------------------------------------------------------------

_ANSWER = messages.alias("answer")
_RUN: Select[Any] = select(
    runs.c.id,
    runs.c.conversation_id,
    runs.c.trigger_message_id,
    runs.c.agent_id,
    runs.c.status,
    runs.c.owner,
    runs.c.epoch,
    runs.c.continues,
    runs.c.continues_for,
    runs.c.stop_requested,
    (runs.c.lease_until > NOW).label("leased"),
    (runs.c.stop_requested.is_(None) & (runs.c.lease_until > NOW - ADOPTED_WITHIN) & HAS_ASKER).label("awaited"),
    runs.c.error_code,
    runs.c.error_message,
    _ANSWER.c.id.label("answer_id"),
    func.coalesce(_ANSWER.c.edited_content, _ANSWER.c.content).label("answer"),
    _ANSWER.c.edited_at.label("answer_edited_at"),
    _ANSWER.c.status.label("answer_status"),
    _ANSWER.c.input_tokens,
    _ANSWER.c.output_tokens,
    _ANSWER.c.stop_reason,
).select_from(runs.outerjoin(_ANSWER, _ANSWER.c.id == runs.c.answer_message_id))

RunRow = Row[Any]

_RUN_BY_ID = _RUN.where(runs.c.id == bindparam("run_id"))
_CURRENT = _RUN.where(
    runs.c.conversation_id == bindparam("conversation_id"),
    is_current(runs),
)
# Two statements: PostgreSQL uses no index for IS NOT DISTINCT FROM.
_CURRENT_OF_TRIGGER = _CURRENT.where(runs.c.trigger_message_id == bindparam("trigger_id"))
_CURRENT_WITHOUT_TRIGGER = _CURRENT.where(runs.c.trigger_message_id.is_(None))
_ACTIVE_RUN = _RUN.where(
    runs.c.conversation_id == bindparam("conversation_id"), runs.c.status == literal_column("'active'")
)


def find_run(connection: Connection, run_id: UUID) -> RunRow | None:
    """A run in any state, with its answer if there is one."""
    return connection.execute(_RUN_BY_ID, {"run_id": run_id}).one_or_none()


def find_current(connection: Connection, conversation_id: UUID, trigger_id: UUID | None) -> RunRow | None:
    """The run that generates the answer to that trigger, or generated the one that is stored."""
    if trigger_id is None:
        return connection.execute(_CURRENT_WITHOUT_TRIGGER, {"conversation_id": conversation_id}).one_or_none()
    parameters = {"conversation_id": conversation_id, "trigger_id": trigger_id}
    return connection.execute(_CURRENT_OF_TRIGGER, parameters).one_or_none()


def find_active(connection: Connection, conversation_id: UUID) -> RunRow | None:
    """The active run of the conversation. Its lease may have expired."""
    return connection.execute(_ACTIVE_RUN, {"conversation_id": conversation_id}).one_or_none()


# --- claim ---

_INSERT = (
    pg_insert(runs)
    .values(
        id=bindparam("run_id"),
        conversation_id=bindparam("conversation_id"),
        trigger_message_id=bindparam("trigger_id"),
        trigger_wording=_WORDING,
        agent_id=bindparam("agent_id"),
        status="active",
        owner=bindparam("owner"),
        epoch=FIRST_EPOCH,
        lease_until=LEASE,
        continues=bindparam("continues"),
        continues_for=bindparam("continues_for"),
        company_id=bindparam("company_id"),
        started_at=NOW,
    )
    .on_conflict_do_nothing()
    .returning(runs.c.id)
)

_ORPHAN = and_(runs.c.id == bindparam("run_id"), IS_ACTIVE, runs.c.lease_until <= NOW)
_TAKE_OVER = (
    update(runs)
    .where(
        runs.c.id == bindparam("run_id"),
        IS_ACTIVE,
        or_(runs.c.lease_until <= NOW, runs.c.owner == bindparam("new_owner")),
    )
    .values(
        owner=bindparam("new_owner"),
        epoch=runs.c.epoch + 1,
        lease_until=LEASE,
        trigger_wording=_WORDING,
        **ASKED_TOO,
    )
    .returning(runs.c.epoch, runs.c.continues, runs.c.continues_for)
)

_END_ORPHAN = update(runs).where(_ORPHAN).values(status=bindparam("new_status"), ended_at=NOW)


def insert_run(
    connection: Connection,
    *,
    run_id: UUID,
    conversation_id: UUID,
    trigger_id: UUID | None,
    trigger_wording: UUID | None,
    agent_id: UUID | None,
    owner: UUID,
    lease_seconds: float,
    continues: bool,
    continues_for: Sequence[UUID] | None,
    company_id: UUID | None = None,
) -> bool:
    """Claim an answer; False if the trigger has a run, or the conversation an active one.

    `continues`: it goes on without readers; `continues_for` are the tokens that ask for it, None: no token is asked
    for. `company_id`: it counts as an answer of this company (`company_bounds.has_room_for_run`).
    """
    inserted = connection.execute(
        _INSERT,
        {
            "run_id": run_id,
            "conversation_id": conversation_id,
            "trigger_id": trigger_id,
            "wording": trigger_wording,
            "agent_id": agent_id,
            "owner": owner,
            "lease_seconds": lease_seconds,
            "continues": continues,
            "continues_for": None if continues_for is None else list(continues_for),
            "company_id": company_id,
        },
    )
    return inserted.first() is not None


def take_over(
    connection: Connection,
    run_id: UUID,
    *,
    owner: UUID,
    lease_seconds: float,
    wording: UUID | None,
    continues: bool,
    continues_for: Sequence[UUID] | None,
) -> Row[Any] | None:
    """Give a run whose lease has expired, or was `owner`'s own, to `owner`. None: it was too late.

    A row of its new `epoch`, and of `continues` and `continues_for`: what was asked before, and what is asked now.
    """
    parameters = {"run_id": run_id, "new_owner": owner, "lease_seconds": lease_seconds, "wording": wording}
    return connection.execute(_TAKE_OVER, parameters | asking(continues, continues_for)).one_or_none()


def end_orphan(connection: Connection, run_id: UUID, status: Literal["stopped", "dropped"]) -> None:
    """End a run whose lease has expired: it was to be stopped, or nobody asks for its answer."""
    connection.execute(_END_ORPHAN, {"run_id": run_id, "new_status": status})


# --- the fence ---

_FENCE = and_(
    runs.c.id == bindparam("run_id"),
    runs.c.owner == bindparam("by"),
    runs.c.epoch == bindparam("in_epoch"),
    IS_ACTIVE,
)

# It may be repeated after a lost confirmation, so it names the epoch that it leads to.
_NEXT_EPOCH = (
    update(runs)
    .where(
        runs.c.id == bindparam("run_id"),
        runs.c.owner == bindparam("by"),
        runs.c.epoch.in_([bindparam("in_epoch"), bindparam("to_epoch")]),
        IS_ACTIVE,
    )
    .values(epoch=bindparam("to_epoch"))
    .returning(runs.c.epoch)
)


def next_epoch(connection: Connection, run_id: UUID, owner: UUID, epoch: int) -> int | None:
    """Begin the next epoch of a run; the epoch. None behind the fence."""
    parameters = {"run_id": run_id, "by": owner, "in_epoch": epoch, "to_epoch": epoch + 1}
    return connection.execute(_NEXT_EPOCH, parameters).scalar_one_or_none()


# --- end ---

_LOCK_RUN = (
    select(
        runs.c.conversation_id,
        runs.c.trigger_message_id,
        runs.c.agent_id,
        runs.c.status,
        runs.c.answer_message_id,
        (and_(runs.c.owner == bindparam("by"), runs.c.epoch == bindparam("in_epoch"))).label("ours"),
    )
    .where(runs.c.id == bindparam("run_id"))
    .with_for_update()
)

_COMPLETE = (
    update(runs)
    .where(_FENCE)
    .values(
        status=bindparam("new_status"),
        answer_message_id=bindparam("message_id"),
        ended_at=NOW,
    )
)

_END = (
    update(runs)
    .where(_FENCE)
    .values(
        status=bindparam("new_status"),
        error_code=bindparam("code"),
        error_message=bindparam("text"),
        ended_at=NOW,
    )
)


def lock_run(connection: Connection, run_id: UUID, owner: UUID, epoch: int) -> Row[Any] | None:
    """Lock a run: a row of `conversation_id trigger_message_id agent_id status answer_message_id ours`.

    `ours`: owner and epoch are still these. None: there is no such run.
    """
    parameters = {"run_id": run_id, "by": owner, "in_epoch": epoch}
    return connection.execute(_LOCK_RUN, parameters).one_or_none()


def complete(
    connection: Connection,
    run_id: UUID,
    owner: UUID,
    epoch: int,
    *,
    message_id: UUID,
    kept: bool,
) -> None:
    """End a run whose answer was stored; nothing happens behind the fence."""
    connection.execute(
        _COMPLETE,
        {
            "run_id": run_id,
            "by": owner,
            "in_epoch": epoch,
            "new_status": "kept" if kept else "completed",
            "message_id": message_id,
        },
    )


def end_run(
    connection: Connection,
    run_id: UUID,
    owner: UUID,
    epoch: int,
    status: str,
    *,
    error_code: str | None = None,
    error_message: str | None = None,
) -> None:
    """End a run without an answer; nothing happens behind the fence."""
    connection.execute(
        _END,
        {
            "run_id": run_id,
            "by": owner,
            "in_epoch": epoch,
            "new_status": status,
            "code": error_code,
            "text": error_message,
        },
    )
