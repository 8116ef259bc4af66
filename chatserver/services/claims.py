"""Claims of answers: whose process generates one, and by which provider.

All of it belongs to a transaction of the caller, which takes everything back if something is refused.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from chatserver.errors import (
    ConflictError,
    NotFoundError,
    Problem,
    RateLimitedError,
    UnavailableError,
    ValidationError,
)
from chatserver.ids import uuid7
from chatserver.live.outcomes import NOBODY, Askers, Busy, Claimed, ClaimOutcome, Elsewhere, Ended, RunKey
from chatserver.live.store import OpenRequest
from chatserver.providers.base import Turn
from chatserver.services.access import Role, role_is_missing
from chatserver.services.provider_choice import ChosenProvider, ProviderChoice
from chatserver.services.run_outcomes import askers_of, continuing, stored
from chatserver.sse import FIRST_EPOCH
from chatserver.storage import agents, company_bounds, questions, runs

# Between two looks another process may claim and end a run. That this happens ten times in a row is absurd.
ATTEMPTS = 10
# An answer takes some seconds.
FULL_RETRY_AFTER_SECONDS = 5


class Claims:
    """Claims for the process that is known as `owner`.

    `company_max_runs`: how many answers of one company all processes together may generate; 0: no limit. Whoever takes
    over the run of a process that died begins no new one, and is not refused.
    """

    def __init__(self, providers: ProviderChoice, owner: UUID, lease_seconds: float, company_max_runs: int = 0) -> None:
        self._providers = providers
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._company_max_runs = company_max_runs

    def claim_for(self, connection: Connection, key: RunKey, request: OpenRequest) -> ClaimOutcome:
        """Claim an answer for a client that has just come."""
        begins, is_here = request.begins(key.company_id), key.trigger_id in request.here
        for _ in range(ATTEMPTS):
            outcome = self.claim(
                connection,
                key,
                uuid7(),
                askers=request.askers if begins else NOBODY,
                may_begin=begins or is_here,
                must_queue=bool(request.here),
                at_capacity=request.at_capacity and not is_here,
            )
            if isinstance(outcome, Busy) and outcome.company_is_full:
                raise RateLimitedError(
                    "Too many answers of this company are being generated",
                    retry_after_seconds=FULL_RETRY_AFTER_SECONDS,
                    bound="company_max_runs",
                )
            if isinstance(outcome, Busy) and request.refuse_busy and not is_here:
                raise ConflictError("Another answer is being generated in this conversation")
            # A run that ends here was stopped while its process was dead. This client has not waited for it.
            if not isinstance(outcome, Ended):
                return outcome
        raise UnavailableError

    def claim(
        self,
        connection: Connection,
        key: RunKey,
        run_id: UUID,
        *,
        askers: Askers = NOBODY,
        may_begin: bool = True,
        must_queue: bool = False,
        at_capacity: bool = False,
    ) -> ClaimOutcome:
        for _ in range(ATTEMPTS):
            current = runs.find_current(connection, key.conversation_id, key.trigger_id)
            if current is not None and current.status != "active":
                return stored(current)
            if current is None and not may_begin:
                _require_trigger(connection, key)
                raise role_is_missing(Role.MEMBER)
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
                taken = runs.take_over(
                    connection,
                    current.id,
                    owner=self._owner,
                    lease_seconds=self._lease_seconds,
                    wording=question.wording,
                    **continuing(askers)._asdict(),
                )
                if taken is not None:
                    return claimed_run(key, question, provider, current.id, taken.epoch, askers_of(taken))
            elif must_queue:
                return Busy()
            elif begun := self._begin(connection, key, question, provider, run_id, askers):
                return begun
        raise UnavailableError

    def _begin(
        self,
        connection: Connection,
        key: RunKey,
        question: Any,
        provider: ChosenProvider,
        run_id: UUID,
        askers: Askers,
    ) -> Claimed | Busy | None:
        """Begin a new run; None: somebody else has begun one meanwhile, so look again."""
        limit = self._company_max_runs
        if limit and not company_bounds.has_room_for_run(connection, key.company_id, limit):
            return Busy(company_is_full=not _is_busy(connection, key))
        if self._insert(connection, key, question, run_id, askers):
            return claimed_run(key, question, provider, run_id, FIRST_EPOCH, askers)
        return Busy() if _is_busy(connection, key) else None

    def _lock_question(self, connection: Connection, key: RunKey) -> tuple[Any, ChosenProvider]:
        """The question and the provider of its answer. From now on nobody rewinds or deletes."""
        if not questions.lock_conversation(connection, key.conversation_id):
            raise NotFoundError("Conversation not found")
        # Read again: the row may have changed before it was locked.
        question = _require_trigger(connection, key)
        agent_id = _agent_id(question)
        agent = None if agent_id is None else agents.find(connection, key.company_id, agent_id)
        chosen = self._providers.for_agent(key.company_id, agent)
        if chosen.provider.needs_user_turn and not (question.content or "").strip():
            raise ValidationError([Problem("triggerMessageId", "there is nothing to answer")])
        return question, chosen

    def _insert(self, connection: Connection, key: RunKey, question: Any, run_id: UUID, askers: Askers) -> bool:
        return runs.insert_run(
            connection,
            run_id=run_id,
            conversation_id=key.conversation_id,
            trigger_id=key.trigger_id,
            trigger_wording=question.wording,
            agent_id=_agent_id(question),
            owner=self._owner,
            lease_seconds=self._lease_seconds,
            company_id=key.company_id if self._company_max_runs else None,
            **continuing(askers)._asdict(),
        )


def _require_trigger(connection: Connection, key: RunKey) -> Any:
    """The question of an answer. Raises NotFoundError and ValidationError for what cannot be answered."""
    question = questions.find_question(connection, None, key.conversation_id, key.trigger_id, newest=False)
    if question is None:
        raise NotFoundError("Conversation not found")
    if key.trigger_id is not None:
        if question.trigger_id is None or question.superseded_at is not None:
            raise NotFoundError("Message not found")
        if question.role != "user":
            raise ValidationError([Problem("triggerMessageId", "must name a user message")])
    return question


def _agent_id(question: Any) -> UUID | None:
    """The agent of the answer: the message's own, else the conversation's."""
    agent_id: UUID | None = question.message_agent_id or question.agent_id
    return agent_id


def _is_busy(connection: Connection, key: RunKey) -> bool:
    """Whether another answer is being generated.

    A run whose lease has expired is ended by this, unless it shall go on without readers on behalf of somebody who
    still has access: some process is about to take that one over.
    """
    active = runs.find_active(connection, key.conversation_id)
    if active is None or active.trigger_message_id == key.trigger_id:
        # A run of this very trigger came first: the claim looks again, and joins it.
        return False
    if active.leased or active.awaited:
        return True
    runs.end_orphan(connection, active.id, "dropped")
    return False


def claimed_run(
    key: RunKey, question: Any, chosen: ChosenProvider, run_id: UUID, epoch: int, askers: Askers
) -> Claimed:
    """The outcome of a claim. `question` has the `content` of the trigger."""
    if key.trigger_id is None:
        return Claimed(run_id, epoch, chosen.provider, chosen.prompt(()), askers)
    prompt = chosen.prompt((Turn("user", question.content),))
    return Claimed(run_id, epoch, chosen.provider, prompt, askers, chosen.room_for_history(prompt))
