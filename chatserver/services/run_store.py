"""The live layer's run store, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection

from chatserver.errors import ErrorCode
from chatserver.live.store import ClaimOutcome, Elsewhere, Look, Renewal, RunKey
from chatserver.providers.base import Usage
from chatserver.services.claims import Claims, ended, stored
from chatserver.storage import messages, runs
from chatserver.storage.postgres.database import Database


class PostgresRunStore:
    """`live.store.RunStore` for the runs of the process that is known as `owner`."""

    def __init__(self, database: Database, pulse: Database, claims: Claims, owner: UUID, lease_seconds: float) -> None:
        """`pulse` is for the leases alone: they must not wait behind what users ask for."""
        self._database = database
        self._pulse = pulse
        self._claims = claims
        self._owner = owner
        self._lease_seconds = lease_seconds

    async def claim(self, key: RunKey, run_id: UUID, *, continues: bool) -> ClaimOutcome:
        return await self._database.transaction(self._claims.claim, key, run_id, continues)

    async def look(self, run_id: UUID) -> Look | None:
        return await self._database.transaction(_look, run_id)

    async def renew(self, run_ids: Collection[UUID]) -> Mapping[UUID, Renewal]:
        rows = await self._pulse.autocommit(runs.renew, tuple(run_ids), self._owner, self._lease_seconds)
        return {row.id: Renewal(row.stop_requested, row.followed, row.continues) for row in rows}

    async def next_epoch(self, run_id: UUID, epoch: int) -> int | None:
        return await self._database.autocommit(runs.next_epoch, run_id, self._owner, epoch)

    async def commit(
        self,
        run_id: UUID,
        epoch: int,
        message_id: UUID,
        text: str,
        *,
        kept: bool,
        usage: Usage | None,
        stop_reason: str | None,
    ) -> bool:
        return await self._database.transaction(
            _commit, run_id, self._owner, epoch, message_id, text, kept, usage, stop_reason
        )

    async def end(
        self,
        run_id: UUID,
        epoch: int,
        status: Literal["stopped", "failed", "dropped"],
        code: ErrorCode | None = None,
        message: str | None = None,
    ) -> None:
        await self._database.autocommit(
            runs.end_run, run_id, self._owner, epoch, status, error_code=code, error_message=message
        )

    async def release(self, run_ids: Collection[UUID]) -> None:
        await self._database.autocommit(runs.release, tuple(run_ids), self._owner)

    async def set_continues(self, run_id: UUID) -> None:
        await self._database.autocommit(runs.set_continues, run_id)

    async def abandoned(self) -> Collection[RunKey]:
        rows = await self._database.autocommit(runs.abandoned)
        return [RunKey(row.company_id, row.conversation_id, row.trigger_message_id) for row in rows]


def _look(connection: Connection, run_id: UUID) -> Look | None:
    epoch = runs.follow(connection, run_id)
    if epoch is not None:
        return Elsewhere(run_id, epoch)
    row = runs.find_run(connection, run_id)
    if row is None or row.status == "active":
        return None
    return stored(row) if row.answer_id is not None else ended(row)


def _commit(
    connection: Connection,
    run_id: UUID,
    owner: UUID,
    epoch: int,
    message_id: UUID,
    text: str,
    kept: bool,
    usage: Usage | None,
    stop_reason: str | None,
) -> bool:
    runs.lock_conversation_of(connection, run_id)
    run = runs.lock_run(connection, run_id, owner, epoch)
    if run is None:
        return False
    if run.answer_message_id == message_id:
        # The try before took effect; only its confirmation was lost.
        return True
    if run.status != "active" or not run.ours:
        return False
    answer = messages.insert_message(
        connection,
        companies=None,
        conversation_id=run.conversation_id,
        role="assistant",
        content=text,
        agent_id=run.agent_id,
        reply_to=run.trigger_message_id,
        status="stopped" if kept else "completed",
        input_tokens=None if usage is None else usage.input_tokens,
        output_tokens=None if usage is None else usage.output_tokens,
        message_id=message_id,
    )
    if answer is None:
        # The conversation was deleted while the answer was being made: that stops it.
        runs.end_run(connection, run_id, owner, epoch, "stopped")
        return False
    runs.complete(connection, run_id, owner, epoch, message_id=message_id, kept=kept, stop_reason=stop_reason)
    return True
