"""The common case of a turn, in batches: a statement each adds a message, claims its answer, and commits it."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from chatserver.ids import uuid7
from chatserver.live.outcomes import Opened, RunKey
from chatserver.live.store import OpenRequest
from chatserver.message_schemas import Role
from chatserver.services.claims import claimed_run
from chatserver.services.idempotent_send import body_digest
from chatserver.services.provider_choice import ProviderChoice
from chatserver.services.run_outcomes import continuing
from chatserver.sse import FIRST_EPOCH
from chatserver.storage import runs
from chatserver.storage.answers import Answer
from chatserver.storage.postgres.batches import Batcher, Batches
from chatserver.storage.postgres.database import Database
from chatserver.storage.scope import Companies
from chatserver.storage.turns.adding import MessageToAdd, add_messages
from chatserver.storage.turns.asking import NewQuestion, ask
from chatserver.storage.turns.claiming import Claimer, Question, claim_answers
from chatserver.storage.turns.committing import commit_answers


class AddedMessage(NamedTuple):
    """A message, and when it was added."""

    message: MessageToAdd
    created_at: datetime


class Turns:
    """The turns of the process that is known as `owner`.

    What a method does not carry out has to go the general way. `database` is for batches alone: its sessions have the
    settings of `storage/turns/statements.py`. Every method may raise DatabaseUnavailableError, after which it may have
    taken effect.
    """

    def __init__(self, database: Database, providers: ProviderChoice, owner: UUID, lease_seconds: float) -> None:
        self._database = database
        self._providers = providers
        self._owner = owner
        rights = providers.rights
        claimer = Claimer(owner, lease_seconds, rights.of_all, rights.of_some(), providers.default_needs_text)
        batches = Batches(database)
        self._messages: Batcher[MessageToAdd, datetime] = batches.of(add_messages)
        self._claims: Batcher[Question, Any] = batches.of(partial(claim_answers, claimer=claimer))
        self._questions: Batcher[NewQuestion, Any] = batches.of(partial(ask, claimer=claimer))
        self._commits: Batcher[Answer, bool] = batches.of(partial(commit_answers, owner=owner))

    async def add_message(
        self,
        companies: Companies,
        conversation_id: UUID,
        idempotency_key: str | None,
        *,
        role: Role,
        content: str,
        agent_id: UUID | None,
        author: str | None = None,
    ) -> AddedMessage | None:
        """Add a message; None: it was not added, perhaps because it was sent before under the same idempotency key."""
        digest = None if idempotency_key is None else body_digest(role, content, agent_id)
        message = MessageToAdd(
            companies, conversation_id, uuid7(), role, content, agent_id, author, key=idempotency_key, digest=digest
        )
        added_at = await self._messages.carry_out(conversation_id, message, len(content))
        return None if added_at is None else AddedMessage(message, added_at)

    async def open(self, request: OpenRequest) -> Opened | None:
        """Claim the answer that a client asks for, and add its question; None: nothing was done.

        Only if nothing has to be found out first: no event id or idempotency key, no other answer of the conversation
        here, and a client that may begin answers.
        """
        if request.resume is not None or request.here or request.at_capacity:
            return None
        row = await self._claim(request)
        if row is None:
            return None
        key = RunKey(row.company_id, request.conversation_id, row.trigger_id)
        try:
            chosen = self._providers.for_agent(row.company_id, None if row.adapter_type is None else row)
        except Exception:
            # Such as settings of the agent that this version does not know. The claim has taken effect already.
            await self._database.autocommit(runs.end_run, row.run_id, self._owner, FIRST_EPOCH, "dropped")
            raise
        claimed = claimed_run(key, row, chosen, row.run_id, FIRST_EPOCH, request.askers)
        return Opened(key, claimed, reset=False)

    async def _claim(self, request: OpenRequest) -> Any | None:
        scope, askers = request.scope_of_claims, continuing(request.askers)
        if scope is not None and not scope:
            return None
        companies = None if scope is None else tuple(scope)
        place, message = request.conversation_id, request.message
        if message is None:
            question = Question(companies, place, request.trigger_id, uuid7(), *askers)
            return await self._claims.carry_out(place, question, 0)
        if message.idempotency_key is not None:
            return None
        new = NewQuestion(
            companies, place, uuid7(), message.content, message.agent_id, message.author, uuid7(), *askers
        )
        return await self._questions.carry_out(place, new, len(new.content))

    async def commit(self, answer: Answer) -> bool:
        """Store an answer and end its run; whether that happened now."""
        chars = len(answer.content) + len(answer.reasoning or "")
        return await self._commits.carry_out(answer.run_id, answer, chars) or False
