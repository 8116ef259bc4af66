"""The runs of answers: claimed by an insert that unique indexes guard, held by a lease, written under a fence.

All times are the database's, so that processes on several machines agree on when a lease is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Row,
    Select,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as pg_insert

from chatserver.sse import FIRST_EPOCH
from chatserver.storage.messages import effective_content
from chatserver.storage.scope import Companies, companies_parameter, in_scope
from chatserver.storage.tables import conversations, messages, runs

NOW = func.clock_timestamp()
LEASE = NOW + func.make_interval(0, 0, 0, 0, 0, 0, bindparam("lease_seconds"))
# How long a look at a run counts as the interest of readers elsewhere; they look every half second.
FOLLOWED: ColumnElement[Any] = literal_column("interval '3 seconds'")

# A run that is to go on without readers and that nobody has taken over by then is given up.
ADOPTED_WITHIN: ColumnElement[Any] = literal_column("interval '1 minute'")

# --- what is asked ----------------------------------------------------------------------------------------


def _question(*, of_trigger: bool) -> Select[Any]:
    asked = select(
        messages.c.id,
        messages.c.role,
        messages.c.agent_id,
        messages.c.superseded_at,
        effective_content().label("content"),
    ).where(messages.c.conversation_id == conversations.c.id)
    if of_trigger:
        asked = asked.where(messages.c.id == bindparam("trigger_id", type_=Uuid))
    else:
        asked = (
            asked.where(messages.c.role == "user", messages.c.superseded_at.is_(None))
            .order_by(messages.c.position.desc())
            .limit(1)
        )
    message = asked.lateral("message")
    return (
        select(
            conversations.c.company_id,
            conversations.c.agent_id,
            message.c.id.label("trigger_id"),
            message.c.role,
            message.c.content,
            message.c.superseded_at,
            message.c.agent_id.label("message_agent_id"),
        )
        .select_from(conversations.outerjoin(message, true()))
        .where(
            conversations.c.id == bindparam("conversation_id"),
            conversations.c.deleted_at.is_(None),
            in_scope(conversations.c.company_id),
        )
    )


_QUESTION_OF_TRIGGER = _question(of_trigger=True)
_NEWEST_QUESTION = _question(of_trigger=False)


def find_question(
    connection: Connection, companies: Companies, conversation_id: UUID, trigger_id: UUID | None, *, newest: bool
) -> Row[Any] | None:
    """A conversation and the message to answer in it: `trigger_id`, or (`newest`) the newest live user message.

    None: no such conversation. Where there is no such message, the row's `trigger_id` is None.
    """
    parameters = {"companies": companies_parameter(companies), "conversation_id": conversation_id}
    if trigger_id is None and newest:
        return connection.execute(_NEWEST_QUESTION, parameters).one_or_none()
    return connection.execute(_QUESTION_OF_TRIGGER, parameters | {"trigger_id": trigger_id}).one_or_none()


_LOCK_CONVERSATION = (
    select(conversations.c.id)
    .where(conversations.c.id == bindparam("conversation_id"), conversations.c.deleted_at.is_(None))
    .with_for_update(key_share=True)
)


def lock_conversation(connection: Connection, conversation_id: UUID) -> bool:
    """Keep others from claiming, rewinding or deleting until the transaction ends; False when it is gone."""
    return connection.execute(_LOCK_CONVERSATION, {"conversation_id": conversation_id}).first() is not None


# --- what there is ----------------------------------------------------------------------------------------

_ANSWER = messages.alias("answer")
_RUN = select(
    runs.c.id,
    runs.c.conversation_id,
    runs.c.trigger_message_id,
    runs.c.agent_id,
    runs.c.status,
    runs.c.owner,
    runs.c.epoch,
    runs.c.continues,
    runs.c.stop_requested,
    (runs.c.lease_until > NOW).label("leased"),
    (runs.c.continues & runs.c.stop_requested.is_(None) & (runs.c.lease_until > NOW - ADOPTED_WITHIN)).label("awaited"),
    runs.c.stop_reason,
    runs.c.error_code,
    runs.c.error_message,
    _ANSWER.c.id.label("answer_id"),
    func.coalesce(_ANSWER.c.edited_content, _ANSWER.c.content).label("answer"),
    _ANSWER.c.edited_at.label("answer_edited_at"),
    _ANSWER.c.status.label("answer_status"),
    _ANSWER.c.input_tokens,
    _ANSWER.c.output_tokens,
).select_from(runs.outerjoin(_ANSWER, _ANSWER.c.id == runs.c.answer_message_id))

RunRow = Row[Any]

_RUN_BY_ID = _RUN.where(runs.c.id == bindparam("run_id"))
_CURRENT = _RUN.where(
    runs.c.conversation_id == bindparam("conversation_id"),
    runs.c.status.in_([literal_column("'active'"), literal_column("'completed'"), literal_column("'kept'")]),
)
# Two statements: an index is of no use to IS NOT DISTINCT FROM.
_CURRENT_OF_TRIGGER = _CURRENT.where(runs.c.trigger_message_id == bindparam("trigger_id"))
_CURRENT_WITHOUT_TRIGGER = _CURRENT.where(runs.c.trigger_message_id.is_(None))
_ACTIVE_RUN = _RUN.where(
    runs.c.conversation_id == bindparam("conversation_id"), runs.c.status == literal_column("'active'")
)


def find_run(connection: Connection, run_id: UUID) -> RunRow | None:
    """A run, whatever became of it."""
    return connection.execute(_RUN_BY_ID, {"run_id": run_id}).one_or_none()


def find_current(connection: Connection, conversation_id: UUID, trigger_id: UUID | None) -> RunRow | None:
    """The run that is making the answer of that trigger, or made the one that is stored."""
    if trigger_id is None:
        return connection.execute(_CURRENT_WITHOUT_TRIGGER, {"conversation_id": conversation_id}).one_or_none()
    parameters = {"conversation_id": conversation_id, "trigger_id": trigger_id}
    return connection.execute(_CURRENT_OF_TRIGGER, parameters).one_or_none()


def find_active(connection: Connection, conversation_id: UUID) -> RunRow | None:
    """The active run of the conversation; its lease may be over."""
    return connection.execute(_ACTIVE_RUN, {"conversation_id": conversation_id}).one_or_none()


# --- claim ------------------------------------------------------------------------------------------------

_INSERT = (
    pg_insert(runs)
    .values(
        id=bindparam("run_id"),
        conversation_id=bindparam("conversation_id"),
        trigger_message_id=bindparam("trigger_id"),
        agent_id=bindparam("agent_id"),
        status="active",
        owner=bindparam("owner"),
        epoch=FIRST_EPOCH,
        lease_until=LEASE,
        continues=bindparam("continues"),
        started_at=NOW,
    )
    .on_conflict_do_nothing()
    .returning(runs.c.id)
)

_ORPHAN = and_(runs.c.id == bindparam("run_id"), runs.c.status == "active", runs.c.lease_until <= NOW)
_TAKE_OVER = (
    update(runs)
    .where(
        runs.c.id == bindparam("run_id"),
        runs.c.status == "active",
        or_(runs.c.lease_until <= NOW, runs.c.owner == bindparam("new_owner")),
    )
    .values(owner=bindparam("new_owner"), epoch=runs.c.epoch + 1, lease_until=LEASE)
    .returning(runs.c.epoch)
)

_END_ORPHAN = update(runs).where(_ORPHAN).values(status=bindparam("new_status"), ended_at=NOW)


def insert_run(
    connection: Connection,
    *,
    run_id: UUID,
    conversation_id: UUID,
    trigger_id: UUID | None,
    agent_id: UUID | None,
    owner: UUID,
    lease_seconds: float,
    continues: bool,
) -> bool:
    """Claim the answer; False when another run of the trigger, or an active one of the conversation, is there."""
    inserted = connection.execute(
        _INSERT,
        {
            "run_id": run_id,
            "conversation_id": conversation_id,
            "trigger_id": trigger_id,
            "agent_id": agent_id,
            "owner": owner,
            "lease_seconds": lease_seconds,
            "continues": continues,
        },
    )
    return inserted.first() is not None


def take_over(connection: Connection, run_id: UUID, owner: UUID, lease_seconds: float) -> int | None:
    """Make a run whose lease is over, or that was `owner`'s already, `owner`'s under a new epoch; that epoch.

    None when somebody was quicker.
    """
    parameters = {"run_id": run_id, "new_owner": owner, "lease_seconds": lease_seconds}
    return connection.execute(_TAKE_OVER, parameters).scalar_one_or_none()


def end_orphan(connection: Connection, run_id: UUID, status: Literal["stopped", "dropped"]) -> None:
    """End a run whose owner is gone: it was to be stopped, or nobody asks for its answer."""
    connection.execute(_END_ORPHAN, {"run_id": run_id, "new_status": status})


# --- hold -------------------------------------------------------------------------------------------------

_RENEW = (
    update(runs)
    .where(
        runs.c.id == any_(bindparam("run_ids", type_=ARRAY(Uuid))),
        runs.c.owner == bindparam("by"),
        runs.c.status == "active",
    )
    .values(lease_until=LEASE)
    .returning(
        runs.c.id,
        runs.c.stop_requested,
        runs.c.continues,
        func.coalesce(runs.c.followed_until > NOW, False).label("followed"),
    )
)

_RELEASE = (
    update(runs)
    .where(
        runs.c.id == any_(bindparam("run_ids", type_=ARRAY(Uuid))),
        runs.c.owner == bindparam("by"),
        runs.c.status == "active",
    )
    .values(lease_until=NOW)
)

_FENCE = and_(
    runs.c.id == bindparam("run_id"),
    runs.c.owner == bindparam("by"),
    runs.c.epoch == bindparam("in_epoch"),
    runs.c.status == "active",
)

# It may be repeated when its confirmation was lost, so it names the epoch that it leads to.
_NEXT_EPOCH = (
    update(runs)
    .where(
        runs.c.id == bindparam("run_id"),
        runs.c.owner == bindparam("by"),
        runs.c.epoch.in_([bindparam("in_epoch"), bindparam("to_epoch")]),
        runs.c.status == "active",
    )
    .values(epoch=bindparam("to_epoch"))
    .returning(runs.c.epoch)
)

_FOLLOW = (
    update(runs)
    .where(runs.c.id == bindparam("run_id"), runs.c.status == "active", runs.c.lease_until > NOW)
    .values(followed_until=NOW + FOLLOWED)
    .returning(runs.c.epoch)
)

_SET_CONTINUES = update(runs).where(runs.c.id == bindparam("run_id"), runs.c.status == "active").values(continues=True)

_REQUEST_STOP = (
    update(runs)
    .where(
        runs.c.conversation_id == bindparam("in_conversation"),
        runs.c.status == literal_column("'active'"),  # for the partial index
        or_(bindparam("spared", type_=Uuid).is_(None), runs.c.id != bindparam("spared", type_=Uuid)),
    )
    .values(
        # Whoever asks first decides whether it is kept.
        stop_requested=func.coalesce(runs.c.stop_requested, bindparam("stop")),
        # Where nobody is left to react it is ended right here.
        status=case((runs.c.lease_until > NOW, literal_column("'active'")), else_=literal_column("'stopped'")),
        ended_at=case((runs.c.lease_until > NOW, None), else_=NOW),
    )
    .returning(runs.c.id, runs.c.status)
)

_ABANDONED = (
    select(conversations.c.company_id, runs.c.conversation_id, runs.c.trigger_message_id)
    .join_from(runs, conversations, conversations.c.id == runs.c.conversation_id)
    .where(
        runs.c.status == literal_column("'active'"),
        runs.c.continues,
        runs.c.stop_requested.is_(None),
        runs.c.lease_until <= NOW,
        conversations.c.deleted_at.is_(None),
    )
    # Some may be refused again and again, such as those of a provider that is not configured here.
    .order_by(func.random())
    .limit(20)
)


def renew(connection: Connection, run_ids: Sequence[UUID], owner: UUID, lease_seconds: float) -> Sequence[Row[Any]]:
    """Extend the leases of `owner`'s runs: rows of `id`, `stop_requested`, `followed`; those lost are left out."""
    parameters = {"run_ids": list(run_ids), "by": owner, "lease_seconds": lease_seconds}
    return connection.execute(_RENEW, parameters).all()


def release(connection: Connection, run_ids: Sequence[UUID], owner: UUID) -> None:
    """End the leases of `owner`'s runs, so that others take them over."""
    connection.execute(_RELEASE, {"run_ids": list(run_ids), "by": owner})


def next_epoch(connection: Connection, run_id: UUID, owner: UUID, epoch: int) -> int | None:
    """The new epoch of a run that its owner begins anew; None behind the fence."""
    parameters = {"run_id": run_id, "by": owner, "in_epoch": epoch, "to_epoch": epoch + 1}
    return connection.execute(_NEXT_EPOCH, parameters).scalar_one_or_none()


def follow(connection: Connection, run_id: UUID) -> int | None:
    """Tell the owner of a run that it has readers elsewhere; its epoch, or None when it is not being made."""
    return connection.execute(_FOLLOW, {"run_id": run_id}).scalar_one_or_none()


def set_continues(connection: Connection, run_id: UUID) -> None:
    """Have the run go on without readers."""
    connection.execute(_SET_CONTINUES, {"run_id": run_id})


def request_stop(
    connection: Connection, conversation_id: UUID, *, keep: bool, spared: UUID | None = None
) -> UUID | None:
    """Ask the owner of the active run, unless that is `spared`, to stop it.

    The run; None when nothing is being generated. A run whose owner is gone is stopped by this, and counts as none.
    """
    parameters = {"in_conversation": conversation_id, "stop": "keep" if keep else "discard", "spared": spared}
    run = connection.execute(_REQUEST_STOP, parameters).one_or_none()
    return None if run is None or run.status != "active" else run.id


def abandoned(connection: Connection) -> Sequence[Any]:
    """Company, conversation and trigger of runs that are to go on without readers and whose owner is gone."""
    return connection.execute(_ABANDONED).all()


# --- end --------------------------------------------------------------------------------------------------

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
        stop_reason=bindparam("reason"),
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


_LOCK_CONVERSATION_OF_RUN = (
    select(conversations.c.id)
    .join_from(conversations, runs, runs.c.conversation_id == conversations.c.id)
    .where(runs.c.id == bindparam("run_id"))
    .with_for_update(key_share=True, of=conversations)
)


def lock_conversation_of(connection: Connection, run_id: UUID) -> None:
    """Lock the run's conversation, as whoever locks a run has to do first."""
    connection.execute(_LOCK_CONVERSATION_OF_RUN, {"run_id": run_id})


def lock_run(connection: Connection, run_id: UUID, owner: UUID, epoch: int) -> Row[Any] | None:
    """The run, locked; `ours` tells whether owner and epoch are still these."""
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
    stop_reason: str | None,
) -> None:
    """Mark a run of which the answer was stored."""
    connection.execute(
        _COMPLETE,
        {
            "run_id": run_id,
            "by": owner,
            "in_epoch": epoch,
            "new_status": "kept" if kept else "completed",
            "message_id": message_id,
            "reason": stop_reason,
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
    """Mark a run that ended without an answer; nothing happens behind the fence."""
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
