"""The store of the live layer, on PostgreSQL.

`open` refuses in its transaction: before a run exists, and before the first byte of the response is sent.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import Connection

from chatserver.errors import ErrorCode, NotFoundError
from chatserver.live.absence import Absence
from chatserver.live.outcomes import (
    NOBODY,
    Askers,
    Busy,
    Claimed,
    ClaimOutcome,
    Committed,
    Elsewhere,
    EndStatus,
    Lost,
    Opened,
    Place,
    PlacesRenewed,
    Renewal,
    Restarted,
    RunKey,
    StopState,
    Stored,
    YieldState,
)
from chatserver.live.store import Companies, NewAnswer, OpenRequest
from chatserver.providers.base import Turn
from chatserver.services import run_outcomes
from chatserver.services.claims import Claims
from chatserver.services.idempotent_send import IdempotencyKey, send
from chatserver.services.provider_choice import ProviderChoice
from chatserver.services.queued_claims import InTheWayError, QueuedClaims
from chatserver.services.turns import Turns
from chatserver.storage import answers, conversations, leases, places, questions, runs, sweep
from chatserver.storage.history import read_before
from chatserver.storage.postgres.database import Database


class PostgresAnswerStore:
    """`live.store.AnswerStore` for the runs of the process that is known as `owner`."""

    def __init__(
        self,
        database: Database,
        lease_database: Database,
        providers: ProviderChoice,
        owner: UUID,
        lease_seconds: float,
        turns: Turns | None = None,
        company_max_runs: int = 0,
    ) -> None:
        """`lease_database` is for renewals alone: they must not wait behind the requests of users.

        `turns` carries out the common case; None: all goes the general way, and has the same results. With
        `company_max_runs` all claims go that way: the runs of a company are counted one claim after the other.
        """
        self._turns = turns
        self._opening_turns = None if company_max_runs else turns
        self._database = database
        self._lease_database = lease_database
        self.absence = Absence(time.monotonic)
        """When the database was away, as the renewals find it."""
        claims = Claims(providers, owner, lease_seconds, lambda: self.absence.recent, company_max_runs)
        self._claims = QueuedClaims(claims)
        self._owner = owner
        self._lease_seconds = lease_seconds

    # --- open and claim -----------------------------------------------------------------------------------

    async def open(self, request: OpenRequest) -> Opened:
        opened = None if self._opening_turns is None else await self._opening_turns.open(request)
        if opened is not None:
            return opened
        try:
            return await self._database.transaction(self._open, request)
        except InTheWayError as error:
            await self._database.autocommit(leases.ask_to_yield, error.run_id)
            return Opened(error.key, Busy(error.run_id), reset=False)

    async def claim(
        self,
        key: RunKey,
        run_id: UUID,
        *,
        askers: Askers = NOBODY,
        may_begin: bool = True,
        place: Place | None = None,
    ) -> ClaimOutcome:
        claim = self._claims.claim
        return await self._database.transaction(claim, key, run_id, askers=askers, may_begin=may_begin, place=place)

    def _open(self, connection: Connection, request: OpenRequest) -> Opened:
        trigger_id, resume = request.trigger_id, request.resume
        known = None if resume is None else runs.find_run(connection, resume.run_id)
        if known is not None and known.conversation_id != request.conversation_id:
            known = None
        if known is not None:
            trigger_id = known.trigger_message_id
        if request.message is not None:
            trigger_id = _send(connection, request)
        question = questions.find_question(
            connection, _scope(request.companies), request.conversation_id, trigger_id, newest=known is None
        )
        if question is None:
            raise NotFoundError("Conversation not found")
        key = RunKey(question.company_id, request.conversation_id, trigger_id or question.trigger_id)
        if known is not None:
            if known.answer_id is not None:
                return Opened(key, run_outcomes.stored(known), reset=False)
            if known.status in ("stopped", "failed"):
                return Opened(key, run_outcomes.ended(known), reset=False)
        outcome = self._claims.claim_for(connection, key, request)
        run_id = outcome.run_id if isinstance(outcome, Claimed | Elsewhere | Stored) else None
        return Opened(key, outcome, reset=resume is not None and run_id != resume.run_id)

    async def history(self, key: RunKey, max_chars: int) -> tuple[Turn, ...]:
        if key.trigger_id is None:
            return ()
        rows = await self._database.autocommit(read_before, key.conversation_id, key.trigger_id, max_chars=max_chars)
        return tuple(Turn(row.role, row.content) for row in rows)

    # --- hold ---------------------------------------------------------------------------------------------

    async def renew(self, run_ids: Collection[UUID]) -> Mapping[UUID, Renewal]:
        with self.absence.watched():
            rows = await self._lease_database.autocommit(leases.renew, tuple(run_ids), self._owner, self._lease_seconds)
        return {
            row.id: Renewal(row.stop_requested, row.followed, run_outcomes.askers_of(row), row.asked_to_yield)
            for row in rows
        }

    async def ask_to_yield(self, conversation_id: UUID) -> UUID | None:
        return await self._database.autocommit(leases.ask_elsewhere_to_yield, conversation_id, self._owner)

    async def decline(self, run_ids: Collection[UUID]) -> None:
        await self._lease_database.autocommit(leases.decline, tuple(run_ids), self._owner)

    async def yield_state(self, run_id: UUID) -> YieldState:
        return await self._database.autocommit(run_outcomes.yield_state, run_id)

    async def next_epoch(self, run_id: UUID, epoch: int) -> Restarted | Lost:
        next_epoch = await self._database.autocommit(runs.next_epoch, run_id, self._owner, epoch)
        return Lost() if next_epoch is None else Restarted(next_epoch)

    async def release(self, run_id: UUID) -> None:
        await self._database.autocommit(leases.release, run_id, self._owner)

    async def set_continues(self, run_id: UUID, askers: Askers) -> None:
        tokens = run_outcomes.continuing(askers).continues_for
        await self._database.autocommit(leases.set_continues, run_id, tokens)

    async def renew_places(self, run_keys: Mapping[Place, RunKey], lost: Collection[Place]) -> PlacesRenewed:
        return await self._lease_database.autocommit(self._renew_places, run_keys, lost)

    def _renew_places(
        self, connection: Connection, run_keys: Mapping[Place, RunKey], lost: Collection[Place]
    ) -> PlacesRenewed:
        for place in lost:
            self._claims.hold(connection, run_keys[place], place)
        rows = {row.id: row for row in places.renew(connection, [place.id for place in run_keys])}
        return PlacesRenewed(
            missing=[place for place in run_keys if place.id not in rows],
            stopped=[place for place in run_keys if place.id in rows and rows[place.id].stopped],
        )

    async def leave(self, place: Place) -> None:
        await self._database.autocommit(places.leave, place.id)

    async def sweep(self) -> None:
        ended = sweep.AT_ONCE
        while ended == sweep.AT_ONCE and not self.absence.recent:
            ended = await self._database.autocommit(sweep.end_dead_runs)

    async def clean(self) -> None:
        await self._database.autocommit(sweep.remove_left_behind)

    async def abandoned(self) -> Collection[RunKey]:
        if self.absence.recent:
            return ()
        rows = await self._database.autocommit(leases.abandoned)
        return [RunKey(row.company_id, row.conversation_id, row.trigger_message_id) for row in rows]

    # --- end ----------------------------------------------------------------------------------------------

    async def commit(self, run_id: UUID, epoch: int, answer: NewAnswer) -> Committed | Lost:
        usage = answer.usage
        row = answers.Answer(
            run_id=run_id,
            epoch=epoch,
            message_id=answer.message_id,
            content=answer.text,
            kept=answer.kept,
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            model=answer.model,
            stop_reason=answer.stop_reason,
            duration_ms=answer.duration_ms,
            reasoning=answer.reasoning,
            reasoning_ms=answer.reasoning_ms,
        )
        if self._turns is not None and await self._turns.commit(row):
            return Committed()
        committed = await self._database.transaction(answers.commit, row, self._owner)
        return Committed() if committed else Lost()

    async def end(
        self, run_id: UUID, epoch: int, status: EndStatus, code: ErrorCode | None = None, message: str | None = None
    ) -> None:
        await self._database.autocommit(
            runs.end_run, run_id, self._owner, epoch, status, error_code=code, error_message=message
        )

    # --- stop ---------------------------------------------------------------------------------------------

    async def require_conversation(self, companies: Companies, conversation_id: UUID) -> None:
        if await self._database.autocommit(conversations.find, _scope(companies), conversation_id) is None:
            raise NotFoundError("Conversation not found")

    async def request_stop(self, conversation_id: UUID, run_id: UUID | None, *, keep: bool) -> UUID | None:
        return await self._database.autocommit(leases.request_stop, conversation_id, run_id, keep=keep)

    async def stop_state(self, run_id: UUID) -> StopState:
        return await self._database.autocommit(run_outcomes.stop_state, run_id)


def _scope(companies: Companies) -> tuple[UUID, ...] | None:
    return None if companies is None else tuple(companies)


def _send(connection: Connection, request: OpenRequest) -> UUID:
    """Add the message of a request, once; its id."""
    message = request.message
    assert message is not None
    key = None if message.idempotency_key is None else IdempotencyKey("stream", message.idempotency_key)
    sent = send(
        connection,
        _scope(request.companies),
        request.conversation_id,
        key,
        role="user",
        content=message.content,
        agent_id=message.agent_id,
        author=message.author,
    )
    message_id: UUID = sent.message.id
    return message_id
