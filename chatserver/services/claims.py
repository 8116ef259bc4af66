"""Who makes an answer: decided in the database, in one transaction on one thread.

Everything that can be refused is refused in here, before a run exists and before a first byte is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from chatserver.errors import ConflictError, NotFoundError, Problem, UnavailableError, ValidationError
from chatserver.ids import uuid7
from chatserver.live.store import Busy, Claimed, ClaimOutcome, Elsewhere, Ended, RunKey, Stored
from chatserver.providers.base import Turn, Usage
from chatserver.schemas import StreamMessage
from chatserver.services.idempotent_send import IdempotencyKey, send
from chatserver.services.prompts import arrange
from chatserver.services.provider_choice import Model, Models
from chatserver.sse import FIRST_EPOCH, EventId
from chatserver.storage import agents, messages, runs
from chatserver.storage.scope import Companies

# Between two looks another process may have claimed and ended a run; that it does so again and again is absurd.
ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A client that wants to see an answer.

    `trigger_id` None: that of the newest user message, or of `message`, which is to be added first, under an
    `idempotency_key` only once. `resume` is the event id that the client has. Where `refuse_busy`, nothing is stored
    when another answer is being generated. `wait` keeps it from claiming although nothing is active: others here come
    first. `full`: no run may be added.
    """

    companies: Companies
    conversation_id: UUID
    trigger_id: UUID | None
    resume: EventId | None
    message: StreamMessage | None
    idempotency_key: IdempotencyKey | None
    continues: bool
    refuse_busy: bool
    wait: bool
    full: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """What the database says to an OpenRequest; `reset`: the client's id is none of this answer's."""

    key: RunKey
    outcome: ClaimOutcome | Ended
    reset: bool


class Claims:
    """Functions `f(connection, …)` for one transaction each."""

    def __init__(self, models: Models, owner: UUID, lease_seconds: float) -> None:
        self._models = models
        self._owner = owner
        self._lease_seconds = lease_seconds

    def open(self, connection: Connection, request: OpenRequest) -> Opened:
        """Find the answer that the client wants, or claim it.

        Raises NotFoundError, ValidationError, ConflictError and UnavailableError, as the contract says for a stream.
        """
        trigger_id, resume = request.trigger_id, request.resume
        known = None
        if resume is not None:
            known = runs.find_run(connection, resume.run_id)
            if known is not None and known.conversation_id != request.conversation_id:
                known = None
        if known is not None:
            trigger_id = known.trigger_message_id
        if request.message is not None:
            sent = send(
                connection,
                request.companies,
                request.conversation_id,
                request.idempotency_key,
                role="user",
                content=request.message.content,
                agent_id=request.message.agent_id,
            )
            trigger_id = sent.message.id

        question = runs.find_question(
            connection, request.companies, request.conversation_id, trigger_id, newest=known is None
        )
        if question is None:
            raise NotFoundError("Conversation not found")
        key = RunKey(question.company_id, request.conversation_id, trigger_id or question.trigger_id)
        if known is not None:
            if known.answer_id is not None:
                return Opened(key, stored(known), reset=False)
            if known.status in ("stopped", "failed"):
                return Opened(key, ended(known), reset=False)
        outcome = self._claim(connection, key, request)
        reset = resume is not None and getattr(outcome, "run_id", None) != resume.run_id
        return Opened(key, outcome, reset=reset)

    def claim(self, connection: Connection, key: RunKey, run_id: UUID, continues: bool) -> ClaimOutcome:
        """Claim the answer that a run of this process has waited for; see RunStore.claim."""
        request = OpenRequest(
            companies=None,
            conversation_id=key.conversation_id,
            trigger_id=key.trigger_id,
            resume=None,
            message=None,
            idempotency_key=None,
            continues=continues,
            refuse_busy=False,
            wait=False,
            full=False,
        )
        return self._claim(connection, key, request, run_id)

    def _claim(
        self, connection: Connection, key: RunKey, request: OpenRequest, run_id: UUID | None = None
    ) -> ClaimOutcome:
        for _ in range(ATTEMPTS):
            current = runs.find_current(connection, key.conversation_id, key.trigger_id)
            made = None if current is None else self._made_of(current, request)
            if made is not None:
                return made
            if current is not None and current.stop_requested is not None and not current.leased:
                runs.end_orphan(connection, current.id, "stopped")
                if run_id is not None:
                    return Ended(current.id, current.epoch, "stopped")
                continue
            if request.full:
                raise UnavailableError("Too many answers are being generated")
            # Nobody rewinds or deletes from here on; what was read before may be outdated.
            if not runs.lock_conversation(connection, key.conversation_id):
                raise NotFoundError("Conversation not found")
            question = _checked(
                key,
                runs.find_question(connection, request.companies, key.conversation_id, key.trigger_id, newest=False),
            )
            agent_id: UUID | None = question.message_agent_id or question.agent_id
            model = self._model(connection, key, agent_id)
            _check_question(model, question)
            if current is not None:
                claim_id, epoch = current.id, self._take_over(connection, current.id)
            elif not request.wait:
                claim_id = run_id or uuid7()
                epoch = self._insert(connection, key, claim_id, agent_id, continues=request.continues)
            else:
                epoch = None
            if epoch is not None:
                claimed = self._claimed(connection, model, key, question, claim_id, epoch)
                return replace(claimed, continues=request.continues or (current is not None and current.continues))
            if current is None and (request.wait or self._is_busy(connection, key)):
                if request.refuse_busy:
                    raise ConflictError("Another answer is being generated in this conversation")
                return Busy()
        raise UnavailableError

    def _made_of(self, run: Any, request: OpenRequest) -> Stored | Elsewhere | None:
        """What is, or is being, made of a run that is the trigger's; None: it may be taken over.

        Then its lease is over; or it is this process's own, but unknown here: the confirmation of its claim was lost.
        """
        if run.status != "active":
            return stored(run)
        if run.leased and (run.owner != self._owner or request.wait):
            return Elsewhere(run.id, run.epoch)
        return None

    def _take_over(self, connection: Connection, run_id: UUID) -> int | None:
        return runs.take_over(connection, run_id, self._owner, self._lease_seconds)

    def _insert(
        self, connection: Connection, key: RunKey, run_id: UUID, agent_id: UUID | None, *, continues: bool
    ) -> int | None:
        inserted = runs.insert_run(
            connection,
            run_id=run_id,
            conversation_id=key.conversation_id,
            trigger_id=key.trigger_id,
            agent_id=agent_id,
            owner=self._owner,
            lease_seconds=self._lease_seconds,
            continues=continues,
        )
        return FIRST_EPOCH if inserted else None

    def _is_busy(self, connection: Connection, key: RunKey) -> bool:
        """Whether another answer is being generated; one whose process died is not, and ends here.

        Unless it is to go on without readers: then some process is about to take it over.
        """
        active = runs.find_active(connection, key.conversation_id)
        if active is None:
            return False
        if active.leased or active.awaited:
            return True
        runs.end_orphan(connection, active.id, "dropped")
        return False

    def _model(self, connection: Connection, key: RunKey, agent_id: UUID | None) -> Model:
        agent = None if agent_id is None else agents.find(connection, key.company_id, agent_id)
        return self._models.of(agent)

    def _claimed(
        self, connection: Connection, model: Model, key: RunKey, question: Any, run_id: UUID, epoch: int
    ) -> Claimed:
        turns: tuple[Turn, ...] = ()
        if key.trigger_id is not None:
            if model.provider.needs_user_turn:
                turns = arrange(messages.history(connection, key.conversation_id), key.trigger_id)
            else:
                # It looks at nothing else, so a long history is not read for it.
                turns = (Turn("user", question.content),)
        return Claimed(run_id, epoch, model.provider, model.prompt(turns))


def _checked(key: RunKey, question: Any | None) -> Any:
    """The question, if it can be answered at all."""
    if question is None:
        raise NotFoundError("Conversation not found")
    if key.trigger_id is not None:
        if question.trigger_id is None or question.superseded_at is not None:
            raise NotFoundError("Message not found")
        if question.role != "user":
            raise ValidationError([Problem("triggerMessageId", "must name a user message")])
    return question


def _check_question(model: Model, question: Any) -> None:
    if model.provider.needs_user_turn and not (question.content or "").strip():
        raise ValidationError([Problem("triggerMessageId", "there is nothing to answer")])


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
