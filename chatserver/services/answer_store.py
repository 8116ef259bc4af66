"""The store of the live layer, on PostgreSQL.

`open` refuses in its transaction: before a run exists, and before the first byte of the response is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from chatserver.errors import ConflictError, ErrorCode, NotFoundError, Problem, UnavailableError, ValidationError
from chatserver.ids import uuid7
from chatserver.live.store import (
    Busy,
    Claimed,
    ClaimOutcome,
    Committed,
    Companies,
    Elsewhere,
    Ended,
    EndStatus,
    Lost,
    Opened,
    OpenRequest,
    Orphaned,
    Renewal,
    Restarted,
    RunKey,
    RunState,
    StopState,
    Stored,
)
from chatserver.providers.base import Turn, Usage
from chatserver.services.idempotent_send import IdempotencyKey, send
from chatserver.services.prompts import arrange
from chatserver.services.provider_choice import ChosenProvider, ProviderChoice
from chatserver.sse import FIRST_EPOCH
from chatserver.storage import agents, conversations, leases, messages, questions, runs
from chatserver.storage.postgres.database import Database

# Between two looks another process may claim and end a run. That this happens ten times in a row is absurd.
ATTEMPTS = 10


class PostgresAnswerStore:
    """`live.store.AnswerStore` for the runs of the process that is known as `owner`."""

    def __init__(
        self, database: Database, lease_database: Database, providers: ProviderChoice, owner: UUID, lease_seconds: float
    ) -> None:
        """`lease_database` is for renewals alone: they must not wait behind the requests of users."""
        self._database = database
        self._lease_database = lease_database
        self._providers = providers
        self._owner = owner
        self._lease_seconds = lease_seconds

    # --- open and claim -----------------------------------------------------------------------------------

    async def open(self, request: OpenRequest) -> Opened:
        return await self._database.transaction(self._open, request)

    async def claim(self, key: RunKey, run_id: UUID, *, continues: bool) -> ClaimOutcome:
        return await self._database.transaction(self._claim, key, run_id, continues=continues)

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
                return Opened(key, _stored(known), reset=False)
            if known.status in ("stopped", "failed"):
                return Opened(key, _ended(known), reset=False)
        outcome = self._claim_for(connection, key, request)
        run_id = outcome.run_id if isinstance(outcome, Claimed | Elsewhere | Stored) else None
        return Opened(key, outcome, reset=resume is not None and run_id != resume.run_id)

    def _claim_for(self, connection: Connection, key: RunKey, request: OpenRequest) -> ClaimOutcome:
        """Claim an answer for a client that has just come."""
        for _ in range(ATTEMPTS):
            outcome = self._claim(
                connection,
                key,
                uuid7(),
                continues=request.continues,
                must_queue=request.must_queue,
                at_capacity=request.at_capacity,
            )
            if isinstance(outcome, Busy) and request.refuse_busy:
                raise ConflictError("Another answer is being generated in this conversation")
            # A run that ends here was stopped while its process was dead. This client has not waited for it.
            if not isinstance(outcome, Ended):
                return outcome
        raise UnavailableError

    def _claim(
        self,
        connection: Connection,
        key: RunKey,
        run_id: UUID,
        *,
        continues: bool,
        must_queue: bool = False,
        at_capacity: bool = False,
    ) -> ClaimOutcome:
        for _ in range(ATTEMPTS):
            current = runs.find_current(connection, key.conversation_id, key.trigger_id)
            if current is not None and current.status != "active":
                return _stored(current)
            if at_capacity:
                raise UnavailableError("Too many answers are being generated")
            if current is not None:
                # A leased run is claimable only if we own it but never saw the claim confirmed.
                if current.leased and (current.owner != self._owner or must_queue):
                    return Elsewhere(current.id, current.epoch)
                if current.stop_requested is not None and not current.leased:
                    runs.end_orphan(connection, current.id, "stopped")
                    return Ended(current.id, current.epoch, "stopped")
            question, provider = self._lock_question(connection, key)
            if current is not None:
                epoch = runs.take_over(connection, current.id, self._owner, self._lease_seconds)
                if epoch is not None:
                    claimed = _claimed(connection, key, question, provider, current.id, epoch)
                    return replace(claimed, continues=continues or current.continues)
            elif must_queue:
                return Busy()
            elif self._insert(connection, key, question, run_id, continues=continues):
                claimed = _claimed(connection, key, question, provider, run_id, FIRST_EPOCH)
                return replace(claimed, continues=continues)
            elif _is_busy(connection, key):
                return Busy()
        raise UnavailableError

    def _lock_question(self, connection: Connection, key: RunKey) -> tuple[Any, ChosenProvider]:
        """The question and the provider of its answer. From now on nobody rewinds or deletes."""
        if not questions.lock_conversation(connection, key.conversation_id):
            raise NotFoundError("Conversation not found")
        # Read again: the row may have changed before it was locked.
        question = questions.find_question(connection, None, key.conversation_id, key.trigger_id, newest=False)
        if question is None:
            raise NotFoundError("Conversation not found")
        if key.trigger_id is not None:
            if question.trigger_id is None or question.superseded_at is not None:
                raise NotFoundError("Message not found")
            if question.role != "user":
                raise ValidationError([Problem("triggerMessageId", "must name a user message")])
        agent_id = _agent_id(question)
        agent = None if agent_id is None else agents.find(connection, key.company_id, agent_id)
        chosen = self._providers.for_agent(agent)
        if chosen.provider.needs_user_turn and not (question.content or "").strip():
            raise ValidationError([Problem("triggerMessageId", "there is nothing to answer")])
        return question, chosen

    def _insert(self, connection: Connection, key: RunKey, question: Any, run_id: UUID, *, continues: bool) -> bool:
        return runs.insert_run(
            connection,
            run_id=run_id,
            conversation_id=key.conversation_id,
            trigger_id=key.trigger_id,
            agent_id=_agent_id(question),
            owner=self._owner,
            lease_seconds=self._lease_seconds,
            continues=continues,
        )

    # --- hold ---------------------------------------------------------------------------------------------

    async def look(self, run_id: UUID) -> RunState:
        return await self._database.transaction(_look, run_id)

    async def renew(self, run_ids: Collection[UUID]) -> Mapping[UUID, Renewal]:
        rows = await self._lease_database.autocommit(leases.renew, tuple(run_ids), self._owner, self._lease_seconds)
        return {row.id: Renewal(row.stop_requested, row.followed, row.continues) for row in rows}

    async def next_epoch(self, run_id: UUID, epoch: int) -> Restarted | Lost:
        next_epoch = await self._database.autocommit(runs.next_epoch, run_id, self._owner, epoch)
        return Lost() if next_epoch is None else Restarted(next_epoch)

    async def release(self, run_id: UUID) -> None:
        await self._database.autocommit(leases.release, run_id, self._owner)

    async def set_continues(self, run_id: UUID) -> None:
        await self._database.autocommit(leases.set_continues, run_id)

    async def abandoned(self) -> Collection[RunKey]:
        rows = await self._database.autocommit(leases.abandoned)
        return [RunKey(row.company_id, row.conversation_id, row.trigger_message_id) for row in rows]

    # --- end ----------------------------------------------------------------------------------------------

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
    ) -> Committed | Lost:
        committed = await self._database.transaction(
            runs.commit,
            run_id,
            self._owner,
            epoch,
            message_id,
            text,
            kept=kept,
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            stop_reason=stop_reason,
        )
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
        return await self._database.transaction(_stop_state, run_id)


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
    )
    message_id: UUID = sent.message.id
    return message_id


def _agent_id(question: Any) -> UUID | None:
    """The agent of the answer: the message's own, else the conversation's."""
    agent_id: UUID | None = question.message_agent_id or question.agent_id
    return agent_id


def _is_busy(connection: Connection, key: RunKey) -> bool:
    """Whether another answer is being generated.

    A run whose lease has expired is ended by this, unless it shall go on without readers: some process is about to
    take that one over.
    """
    active = runs.find_active(connection, key.conversation_id)
    if active is None or active.trigger_message_id == key.trigger_id:
        # A run of this very trigger came first: the claim looks again, and joins it.
        return False
    if active.leased or active.awaited:
        return True
    runs.end_orphan(connection, active.id, "dropped")
    return False


def _claimed(
    connection: Connection, key: RunKey, question: Any, chosen: ChosenProvider, run_id: UUID, epoch: int
) -> Claimed:
    turns: tuple[Turn, ...] = ()
    if key.trigger_id is not None:
        if chosen.provider.needs_user_turn:
            turns = arrange(messages.history(connection, key.conversation_id), key.trigger_id)
        else:
            # The provider reads only the question: a long history is not loaded for it.
            turns = (Turn("user", question.content),)
    return Claimed(run_id, epoch, chosen.provider, chosen.prompt(turns))


def _look(connection: Connection, run_id: UUID) -> RunState:
    epoch = leases.follow(connection, run_id)
    if epoch is not None:
        return Elsewhere(run_id, epoch)
    row = runs.find_run(connection, run_id)
    if row is None or row.status == "active":
        return Orphaned()
    return _stored(row) if row.answer_id is not None else _ended(row)


def _stop_state(connection: Connection, run_id: UUID) -> StopState:
    run = runs.find_run(connection, run_id)
    if run is None or run.status in ("stopped", "kept"):
        return StopState.STOPPED
    if run.status != "active":
        return StopState.ENDED
    if run.leased:
        return StopState.PENDING
    runs.end_orphan(connection, run_id, "stopped")
    return StopState.STOPPED


def _stored(row: Any) -> Stored:
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


def _ended(row: Any) -> Ended:
    """The end of a run that has no answer."""
    return Ended(row.id, row.epoch, row.status, row.error_code, row.error_message)
