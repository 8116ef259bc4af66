"""What has become of a run, from its row, and on whose behalf it goes on.

`stop_state` also stops a run whose process died.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from chatserver.live.outcomes import NOBODY, Askers, Elsewhere, Ended, Orphaned, RunState, StopState, Stored, YieldState
from chatserver.providers.base import Usage
from chatserver.storage import leases, runs


class Continuing(NamedTuple):
    """`Askers`, as `storage.continuing` has them."""

    continues: bool
    continues_for: tuple[UUID, ...] | None


def continuing(askers: Askers) -> Continuing:
    """The columns of a run that goes on without readers on behalf of these."""
    tokens = tuple(token for token in askers if token is not None)
    return Continuing(bool(askers), tokens if askers and None not in askers else None)


def askers_of(row: Any) -> Askers:
    """On whose behalf a run goes on without readers; `row` has its `continues` and `continues_for`."""
    if not row.continues:
        return NOBODY
    return frozenset((None,) if row.continues_for is None else row.continues_for)


def state(connection: Connection, run_id: UUID, *, owners_may_return: bool) -> RunState:
    """What has become of a run that no process held a moment ago.

    `owners_may_return`: an expired lease says nothing about its owner.
    """
    row = runs.find_run(connection, run_id)
    if row is None:
        return Orphaned()
    if row.status == "active":
        return Elsewhere(run_id, row.epoch) if row.leased or owners_may_return else Orphaned()
    return stored(row) if row.answer_id is not None else ended(row)


def stop_state(connection: Connection, run_id: UUID) -> StopState:
    run = runs.find_run(connection, run_id)
    if run is None or run.status in ("stopped", "kept"):
        return StopState.STOPPED
    if run.status != "active":
        return StopState.ENDED
    if run.leased:
        return StopState.PENDING
    runs.end_orphan(connection, run_id, "stopped")
    return StopState.STOPPED


def yield_state(connection: Connection, run_id: UUID) -> YieldState:
    row = leases.yield_state(connection, run_id)
    if row is None or row.status != "active":
        return YieldState.GONE
    return YieldState.PENDING if row.asked_to_yield else YieldState.STAYS


def stored(row: Any) -> Stored:
    """The answer of a run that has one."""
    usage = None
    if row.input_tokens is not None and row.output_tokens is not None:
        usage = Usage(row.input_tokens, row.output_tokens)
    return Stored(
        run_id=row.id,
        epoch=row.epoch,
        message_id=row.answer_id,
        text=row.answer,
        edited=row.answer_edited_at is not None,
        kept=row.answer_status == "stopped",
        usage=usage,
        stop_reason=row.stop_reason,
    )


def ended(row: Any) -> Ended:
    """The end of a run that has no answer."""
    return Ended(row.id, row.epoch, row.status, row.error_code, row.error_message)
