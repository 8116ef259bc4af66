"""Claims of answers: whose process generates one, and by which provider.

All of it belongs to a transaction of the caller, which takes everything back if something is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from chatserver.errors import (
    NotFoundError,
    Problem,
    UnavailableError,
    ValidationError,
)
from chatserver.live.outcomes import Askers, Claimed, Elsewhere, Ended, RunKey, Stored
from chatserver.providers.base import Turn
from chatserver.services.access import Role, role_is_missing
from chatserver.services.provider_choice import ChosenProvider, ProviderChoice
from chatserver.services.run_outcomes import askers_of, continuing, stored
from chatserver.sse import FIRST_EPOCH
from chatserver.storage import agents, company_bounds, places, questions, runs
from chatserver.storage.places import Queue

# Between two looks another process may claim and end a run. That this happens ten times in a row is absurd.
ATTEMPTS = 10


class Blocked(NamedTuple):
    """Why an answer cannot be claimed: `active` is being generated, others have earlier places in `queue`, or both.

    `company_is_full`: the conversation is idle, but its company has as many answers as it may have.
    """

    active: Any | None
    queue: Queue
    company_is_full: bool = False


class Claims:
    """Claims for the process that is known as `owner`.

    `owners_may_return`: the database was away until a moment ago, so an expired lease says nothing about its owner.
    `company_max_runs`: how many answers of one company all processes together may generate; 0: no limit. Whoever takes
    over the run of a process that died begins no new one, and is not refused.
    """

    def __init__(
        self,
        providers: ProviderChoice,
        owner: UUID,
        lease_seconds: float,
        owners_may_return: Callable[[], bool],
        company_max_runs: int = 0,
    ) -> None:
        self._providers = providers
        self.owner = owner
        self._lease_seconds = lease_seconds
        self.owners_may_return = owners_may_return
        self._company_max_runs = company_max_runs

    def claim(
        self,
        connection: Connection,
        key: RunKey,
        run_id: UUID,
        *,
        askers: Askers,
        may_begin: bool,
        may_wait: bool,
        comes_later: Callable[[Queue], bool],
        must_queue: bool = False,
        at_capacity: bool = False,
    ) -> Claimed | Elsewhere | Stored | Ended | Blocked:
        """Claim an answer; Blocked: others come first. A new run gets the id `run_id`.

        `may_begin` False: no new run is begun; `may_wait`: but it may wait for one for which another process waits,
        too. `comes_later` says whether others have their turn before. `must_queue`: there are answers of this process,
        which come first.
        """
        for _ in range(ATTEMPTS):
            current = runs.find_current(connection, key.conversation_id, key.trigger_id)
            if current is not None and current.status != "active":
                return stored(current)
            if current is None and not may_begin:
                _require_trigger(connection, key)
                if not may_wait or self._queue(connection, key).same_elsewhere is None:
                    raise role_is_missing(Role.MEMBER)
            if at_capacity:
                raise UnavailableError("Too many answers are being generated")
            if current is not None:
                known = self._state_of(connection, current, must_queue=must_queue)
                if known is not None:
                    return known
            question, provider = self._lock_question(connection, key)
            if current is not None:
                taken = runs.take_over(
                    connection,
                    current.id,
                    owner=self.owner,
                    lease_seconds=self._lease_seconds,
                    wording=question.wording,
                    **continuing(askers)._asdict(),
                )
                if taken is not None:
                    return claimed_run(key, question, provider, current.id, taken.epoch, askers_of(taken))
                continue
            queue = self._queue(connection, key)
            if must_queue or not may_begin or comes_later(queue):
                active = runs.find_active(connection, key.conversation_id)
                if active is None or active.trigger_message_id != key.trigger_id:
                    return Blocked(active, queue)
            elif begun := self._begin(connection, key, question, provider, run_id, askers, queue):
                return begun
        raise UnavailableError

    def _state_of(self, connection: Connection, current: Any, *, must_queue: bool) -> Elsewhere | Ended | None:
        """What to make of an active run; None: it may be taken over."""
        ours = current.owner == self.owner
        held = current.leased or self.owners_may_return() or (ours and must_queue)
        # A leased run is claimable only if we own it but never saw the claim confirmed.
        if held and (not ours or must_queue):
            return Elsewhere(current.id, current.epoch)
        if current.stop_requested is not None and not current.leased:
            runs.end_orphan(connection, current.id, "stopped")
            return Ended(current.id, current.epoch, "stopped")
        return None

    def _queue(self, connection: Connection, key: RunKey) -> Queue:
        return places.queue_of(connection, key.conversation_id, key.trigger_id, self.owner)

    def _begin(
        self,
        connection: Connection,
        key: RunKey,
        question: Any,
        provider: ChosenProvider,
        run_id: UUID,
        askers: Askers,
        queue: Queue,
    ) -> Claimed | Blocked | None:
        """Begin a new run; None: somebody else has begun one meanwhile, so look again."""
        limit = self._company_max_runs
        if limit and not company_bounds.has_room_for_run(connection, key.company_id, limit):
            active = self._in_the_way(connection, key)
            return Blocked(active, queue, company_is_full=active is None)
        if self._insert(connection, key, question, run_id, askers):
            if queue.same_elsewhere is not None:
                places.tell_others_begun(connection, key.conversation_id, key.trigger_id, self.owner)
            return claimed_run(key, question, provider, run_id, FIRST_EPOCH, askers)
        active = self._in_the_way(connection, key)
        return None if active is None else Blocked(active, queue)

    def _in_the_way(self, connection: Connection, key: RunKey) -> Any | None:
        """The active run of another answer, or None.

        A run whose lease has expired is ended by this, unless it shall go on without readers on behalf of somebody who
        still has access: some process is about to take that one over.
        """
        active = runs.find_active(connection, key.conversation_id)
        if active is None or active.trigger_message_id == key.trigger_id:
            # A run of this very trigger came first: the claim looks again, and joins it.
            return None
        if active.leased or active.awaited or self.owners_may_return():
            return active
        runs.end_orphan(connection, active.id, "dropped")
        return None

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
            owner=self.owner,
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


def claimed_run(
    key: RunKey, question: Any, chosen: ChosenProvider, run_id: UUID, epoch: int, askers: Askers
) -> Claimed:
    """The outcome of a claim. `question` has the `content` of the trigger."""
    if key.trigger_id is None:
        return Claimed(run_id, epoch, chosen.provider, chosen.prompt(()), askers)
    prompt = chosen.prompt((Turn("user", question.content),))
    return Claimed(run_id, epoch, chosen.provider, prompt, askers, chosen.room_for_history(prompt))
