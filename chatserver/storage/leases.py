"""Leases of runs: an owner holds its runs by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    CompoundSelect,
    Connection,
    Row,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    select,
    update,
)

from chatserver.storage.continuing import ASKED_TOO, HAS_ASKER, asking
from chatserver.storage.places import told
from chatserver.storage.runs import LEASE, NOW
from chatserver.storage.sharing_tables import followers
from chatserver.storage.tables import IS_ACTIVE, conversations, runs

_HELD = and_(
    runs.c.id == any_(bindparam("run_ids", type_=ARRAY(Uuid))),
    runs.c.owner == bindparam("by"),
    IS_ACTIVE,
)


def _renew() -> CompoundSelect[Any]:
    """Look at all runs of a process, and extend the leases of which the first third is over.

    Most answers end before that, so their rows are only read. Whether a lease is due must not change while the
    statement runs: each run is in one of the two parts.
    """
    third = func.make_interval(0, 0, 0, 0, 0, 0, bindparam("lease_seconds") / 3)
    due = runs.c.lease_until < func.statement_timestamp() + 2 * third
    # A process that has taken a run over may still be down as its follower.
    elsewhere = followers.c.process != runs.c.owner
    followed = exists().where(followers.c.run_id == runs.c.id, elsewhere, followers.c.until > NOW).correlate(runs)
    state = (
        runs.c.id,
        runs.c.stop_requested,
        runs.c.continues,
        runs.c.continues_for,
        runs.c.asked_to_yield,
        followed.label("followed"),
    )
    # In the order of their ids, so that two renewals do not deadlock.
    locked = select(runs.c.id).where(_HELD, due).order_by(runs.c.id).with_for_update(key_share=True).cte("locked")
    renewed = update(runs).where(runs.c.id == locked.c.id).values(lease_until=LEASE).returning(*state).cte("renewed")
    return select(*state).where(_HELD, ~due).union_all(select(renewed))


_RENEW = _renew()

_RELEASE = update(runs).where(_HELD).values(lease_until=NOW)

_SET_CONTINUES = update(runs).where(runs.c.id == bindparam("run_id"), IS_ACTIVE).values(ASKED_TOO)

_OWNER_TOLD = told(runs.c.owner, func.concat("run ", runs.c.id))

_ASK = update(runs).values(asked_to_yield=literal_column("true", Boolean)).returning(runs.c.id, _OWNER_TOLD)
_ASK_RUN = _ASK.where(runs.c.id == bindparam("run_id"), IS_ACTIVE)
_ASK_ACTIVE = _ASK.where(
    runs.c.conversation_id == bindparam("in_conversation"),
    runs.c.status == literal_column("'active'"),  # for the partial index
    runs.c.owner != bindparam("by"),
    runs.c.lease_until > NOW,
)
_DECLINE = update(runs).where(_HELD).values(asked_to_yield=literal_column("false", Boolean))
_YIELD_STATE = select(runs.c.status, runs.c.asked_to_yield).where(runs.c.id == bindparam("run_id"))

_REQUEST_STOP = (
    update(runs)
    .where(
        runs.c.conversation_id == bindparam("in_conversation"),
        runs.c.status == literal_column("'active'"),  # for the partial index
    )
    .values(
        # The first request decides what is kept.
        stop_requested=func.coalesce(runs.c.stop_requested, bindparam("stop")),
        # If the lease has expired, nobody is left to react: the run ends right here.
        status=case((runs.c.lease_until > NOW, literal_column("'active'")), else_=literal_column("'stopped'")),
        ended_at=case((runs.c.lease_until > NOW, None), else_=NOW),
    )
    .returning(runs.c.id, runs.c.status, _OWNER_TOLD)
)
_REQUEST_STOP_OF_RUN = _REQUEST_STOP.where(runs.c.id == bindparam("run_id"))

_ABANDONED = (
    select(conversations.c.company_id, runs.c.conversation_id, runs.c.trigger_message_id)
    .join_from(runs, conversations, conversations.c.id == runs.c.conversation_id)
    .where(
        runs.c.status == literal_column("'active'"),
        runs.c.stop_requested.is_(None),
        runs.c.lease_until <= NOW,
        HAS_ASKER,
        conversations.c.deleted_at.is_(None),
    )
    # Some may be refused here each time, because their provider is not configured: they must not hide the others.
    .order_by(func.random())
    .limit(20)
)


def renew(connection: Connection, run_ids: Sequence[UUID], owner: UUID, lease_seconds: float) -> Sequence[Row[Any]]:
    """Extend those leases of `owner`'s runs that have passed their first third.

    Rows of `id stop_requested continues continues_for asked_to_yield followed`, of all runs but those it lost.
    """
    parameters = {"run_ids": list(run_ids), "by": owner, "lease_seconds": lease_seconds}
    return connection.execute(_RENEW, parameters).all()


def release(connection: Connection, run_id: UUID, owner: UUID) -> None:
    """End the lease of `owner`'s run, so that another process takes it over."""
    connection.execute(_RELEASE, {"run_ids": [run_id], "by": owner})


def set_continues(connection: Connection, run_id: UUID, continues_for: Sequence[UUID] | None) -> None:
    """Have an active run generated without readers, also on behalf of these tokens; None: no token is asked for."""
    connection.execute(_SET_CONTINUES, {"run_id": run_id} | asking(True, continues_for))


def ask_to_yield(connection: Connection, run_id: UUID) -> None:
    """Ask the owner of a run to drop it if nobody reads it."""
    connection.execute(_ASK_RUN, {"run_id": run_id}).all()


def ask_elsewhere_to_yield(connection: Connection, conversation_id: UUID, process: UUID) -> UUID | None:
    """Ask the same of another process that generates in a conversation; the run, None if there is none."""
    run = connection.execute(_ASK_ACTIVE, {"in_conversation": conversation_id, "by": process}).one_or_none()
    return None if run is None else run.id


def decline(connection: Connection, run_ids: Sequence[UUID], owner: UUID) -> None:
    """`owner` does not drop these runs of its own: somebody reads them."""
    connection.execute(_DECLINE, {"run_ids": list(run_ids), "by": owner})


def yield_state(connection: Connection, run_id: UUID) -> Any | None:
    """A row of `status asked_to_yield`."""
    return connection.execute(_YIELD_STATE, {"run_id": run_id}).one_or_none()


def request_stop(
    connection: Connection, conversation_id: UUID, run_id: UUID | None = None, *, keep: bool
) -> UUID | None:
    """Ask the owner of the conversation's active run to stop it; the run's id. `run_id`: only this run is meant.

    None if nothing is being generated. A run whose lease has expired is stopped by this, and counts as none.
    """
    parameters = {"in_conversation": conversation_id, "stop": "keep" if keep else "discard"}
    if run_id is None:
        run = connection.execute(_REQUEST_STOP, parameters).one_or_none()
    else:
        run = connection.execute(_REQUEST_STOP_OF_RUN, parameters | {"run_id": run_id}).one_or_none()
    return None if run is None or run.status != "active" else run.id


def abandoned(connection: Connection) -> Sequence[Any]:
    """Rows of `company_id conversation_id trigger_message_id`: runs without an owner that shall go on without readers.

    On behalf of somebody who still has access. 20 at most, in random order.
    """
    return connection.execute(_ABANDONED).all()
