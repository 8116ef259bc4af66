"""Claims of answers that may have to wait: first come, first served over all processes.

A place in the queue of a conversation is given out in the transaction that finds others before it, under the row lock
of the conversation.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from chatserver.errors import ConflictError, RateLimitedError, UnavailableError
from chatserver.ids import uuid7
from chatserver.live.outcomes import NOBODY, Askers, Busy, ClaimOutcome, Ended, Place, RunKey, Waiting
from chatserver.live.store import OpenRequest
from chatserver.services.claims import ATTEMPTS, Blocked, Claims
from chatserver.storage import leases, places, runs
from chatserver.storage.places import Queue

# An answer takes some seconds.
FULL_RETRY_AFTER_SECONDS = 5


class InTheWayError(Exception):
    """An answer of another process comes first, and perhaps nobody reads it: its run. The request is taken back."""

    def __init__(self, key: RunKey, run_id: UUID) -> None:
        super().__init__()
        self.key = key
        self.run_id = run_id


class QueuedClaims:
    """Claims, and places for what cannot be claimed yet."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._owner = claims.owner

    # --- runs that have waited ----------------------------------------------------------------------------

    def claim(
        self,
        connection: Connection,
        key: RunKey,
        run_id: UUID,
        *,
        askers: Askers = NOBODY,
        may_begin: bool = True,
        place: Place | None = None,
    ) -> ClaimOutcome:
        """Claim an answer for a run of this process that waits at `place`, or, without one, followed another one."""
        if place is not None and self._surely_waits(connection, key):
            return self.hold(connection, key, place)
        outcome = self._claims.claim(
            connection,
            key,
            run_id,
            askers=askers,
            may_begin=may_begin,
            may_wait=place is not None,
            # Who has followed an answer comes before those who waited for its end.
            comes_later=partial(_comes_later, place=place) if place is not None else lambda _: False,
        )
        if not isinstance(outcome, Blocked):
            if place is not None:
                places.remove(connection, place.id)
            return outcome
        if place is not None:
            return self.hold(connection, key, place)
        return self._put(connection, key, run_id, outcome.queue, in_front=True)

    def _surely_waits(self, connection: Connection, key: RunKey) -> bool:
        """Whether another answer is being generated, as far as one can see without a lock."""
        active = runs.find_active(connection, key.conversation_id)
        return active is not None and active.leased and active.trigger_message_id != key.trigger_id

    def hold(self, connection: Connection, key: RunKey, place: Place) -> Waiting:
        """Keep a place, or put it back."""
        places.put(
            connection,
            place.id,
            key.conversation_id,
            key.trigger_id,
            self._owner,
            number=place.number,
            interrupts=place.interrupts,
        )
        return Waiting(place)

    def _put(
        self,
        connection: Connection,
        key: RunKey,
        place_id: UUID,
        queue: Queue,
        *,
        in_front: bool = False,
        interrupts: bool = False,
    ) -> Waiting:
        """A new place: that of others that wait for the same answer, else the last one, or (`in_front`) the first."""
        number = queue.same
        if number is None and in_front and queue.first is not None:
            number = queue.first - 1
        number = places.put(
            connection,
            place_id,
            key.conversation_id,
            key.trigger_id,
            self._owner,
            number=number,
            after=queue.last,
            interrupts=interrupts,
        )
        return Waiting(Place(place_id, number, interrupts))

    # --- clients that have just come ----------------------------------------------------------------------

    def claim_for(self, connection: Connection, key: RunKey, request: OpenRequest) -> ClaimOutcome | Busy:
        """Claim an answer for a client that has just come. Raises InTheWayError and what `AnswerStore.open` raises."""
        begins, is_here = request.begins(key.company_id), key.trigger_id in request.here
        for _ in range(ATTEMPTS):
            run_id = uuid7()
            outcome = self._claims.claim(
                connection,
                key,
                run_id,
                askers=request.askers if begins else NOBODY,
                may_begin=begins or is_here,
                may_wait=True,
                comes_later=_comes_later,
                must_queue=bool(request.here),
                at_capacity=request.at_capacity and not is_here,
            )
            if isinstance(outcome, Blocked):
                if is_here:
                    return Busy()
                waiting = self._wait(connection, key, run_id, request, outcome)
                if waiting is not None:
                    return waiting
            # A run that ends here was stopped while its process was dead. This client has not waited for it.
            elif not isinstance(outcome, Ended):
                return outcome
        raise UnavailableError

    def _wait(
        self, connection: Connection, key: RunKey, run_id: UUID, request: OpenRequest, blocked: Blocked
    ) -> Waiting | None:
        """A place for the client, if it is to wait; None: what was in its way has gone.

        The answer of another process that comes first is asked to make way, or stopped, as the client wants it.
        """
        if blocked.company_is_full:
            raise RateLimitedError(
                "Too many answers of this company are being generated",
                retry_after_seconds=FULL_RETRY_AFTER_SECONDS,
                bound="company_max_runs",
            )
        queue = blocked.queue
        if queue.same is not None:  # the client joins others that wait for the same answer
            return self._put(connection, key, run_id, queue)
        elsewhere = blocked.active
        if elsewhere is not None and elsewhere.owner == self._owner:
            elsewhere = None
        interrupts = request.when_busy == "interrupt"
        if request.when_busy == "reject":
            self._refuse_busy(key, request, elsewhere, blocked)
        elif interrupts:
            places.stop_interrupting(connection, key.conversation_id, key.trigger_id, self._owner)
            if elsewhere is not None:
                stopping = leases.request_stop(connection, key.conversation_id, elsewhere.id, keep=False)
                if stopping is None and not request.here:
                    return None
        elif elsewhere is not None:
            leases.ask_to_yield(connection, elsewhere.id)
        return self._put(connection, key, run_id, queue, in_front=interrupts, interrupts=interrupts)

    def _refuse_busy(self, key: RunKey, request: OpenRequest, elsewhere: Any | None, blocked: Blocked) -> None:
        """Refuse a client that does not wait, unless only unread answers of this process come first: they make way.

        `elsewhere`: the active run of another process.
        """
        if not request.wanted_here and not request.asked and blocked.queue.others is None:
            if elsewhere is None and request.here:
                return
            if elsewhere is not None and (elsewhere.leased or self._claims.owners_may_return()):
                raise InTheWayError(key, elsewhere.id)
        raise ConflictError("Another answer is being generated in this conversation")


def _comes_later(queue: Queue, place: Place | None = None) -> bool:
    """Whether answers to other triggers have earlier places than this one, and than those of the same trigger."""
    own = [number for number in (queue.same, None if place is None else place.number) if number is not None]
    return queue.others is not None and (not own or queue.others < min(own))
