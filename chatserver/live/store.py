"""What the live layer asks of the storage: a Protocol, and how a write is repeated.

`services/answer_store.py` implements the Protocol on PostgreSQL, the tests have it in memory, and one suite of tests
runs against both. Every method may raise DatabaseUnavailableError; a write that raised it may have taken effect.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

from chatserver.errors import DatabaseUnavailableError, ErrorCode
from chatserver.live.outcomes import (
    NOBODY,
    Askers,
    ClaimOutcome,
    Committed,
    EndStatus,
    Lost,
    Opened,
    Place,
    PlacesRenewed,
    Renewal,
    Restarted,
    RunKey,
    StopState,
    YieldState,
)
from chatserver.providers.base import Turn, Usage
from chatserver.sse import EventId

T = TypeVar("T")

# How long a write is repeated while the database is away.
PERSIST_SECONDS = 60.0
# The waits between its tries.
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.05, 1.0

WhenBusy = Literal["reject", "interrupt", "enqueue"]
Companies = Collection[UUID] | None
"""The companies whose conversations a client may see; None: all."""


def includes(companies: Companies, company_id: UUID) -> bool:
    """Whether a company is one of these."""
    return companies is None or company_id in companies


# --- requests ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A user message to be added before its answer is opened; with an idempotency key it is added only once.

    `author` None: who wrote it is not signed in.
    """

    content: str
    agent_id: UUID | None = None
    idempotency_key: str | None = None
    author: str | None = None


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A client asks for the answer to a trigger.

    `trigger_id` None: the trigger is the newest user message, or `message`, which is added first.
    `resume`: the event id that the client has.
    `begins_in`: the companies in which the client may begin an answer; None: all of `companies`. Elsewhere it only
    joins what others began: where an answer would have to be begun, raise ForbiddenError.
    `askers`: on whose behalf the answer is generated to its end without readers. Where the client may begin none, this
    counts for nothing.
    `when_busy`: what to do if another answer comes first: raise ConflictError, interrupt it, or wait.
    `here`: the triggers whose answers this process generates, follows or queues. If there are any, they come first: no
    answer is begun now. `wanted_here`: at least one of them is read, or goes on without readers.
    `asked`: another process was asked to make way, and did not.
    `at_capacity`: raise UnavailableError unless the answer is stored, its run has ended, or its trigger is one of
    `here`.
    """

    companies: Companies
    conversation_id: UUID
    trigger_id: UUID | None = None
    resume: EventId | None = None
    message: NewMessage | None = None
    begins_in: Companies = None
    askers: Askers = NOBODY
    when_busy: WhenBusy = "enqueue"
    here: Collection[UUID | None] = ()
    wanted_here: bool = False
    asked: bool = False
    at_capacity: bool = False

    @property
    def scope_of_claims(self) -> Companies:
        """The companies in which an answer may be begun for the client; None: all."""
        return self.companies if self.begins_in is None else self.begins_in

    def begins(self, company_id: UUID) -> bool:
        """Whether the client may begin an answer in a company that it can see."""
        return includes(self.begins_in, company_id)


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """An answer that is to be stored as the message `message_id`. `kept`: it was stopped, and this is what was shown.

    None: not known. `reasoning` is the model's thinking, and `reasoning_ms` how long it took; `duration_ms` is how
    long this process generated.
    """

    message_id: UUID
    text: str
    kept: bool
    usage: Usage | None
    stop_reason: str | None
    model: str | None
    duration_ms: int | None
    reasoning: str | None
    reasoning_ms: int | None


# --- the Protocol -----------------------------------------------------------------------------------------


class AnswerStore(Protocol):
    """Open, claim, hold, end: for the runs of one process."""

    async def open(self, request: OpenRequest) -> Opened:
        """Find the answer that a client asks for, or claim it for this process, all in one transaction.

        If another answer comes first, this one gets a place in the queue of the conversation (Waiting). In the same
        transaction the process that generates the other one is asked to drop it if nobody reads it, or, if the request
        interrupts, to stop it. For a request that rejects, the outcome is then Busy, and nothing is stored: it has to
        wait for the reply, and be made again with `asked`. Answers of this process are left to the caller.

        The outcome is Ended only where `resume` names a run that was stopped or failed. Raises what the API
        refuses: NotFoundError, ValidationError, ForbiddenError, ConflictError, UnavailableError, RateLimitedError if
        the company has as many answers as it may have, and UnprocessableError if the idempotency key was used with
        another body. A refused request stores nothing.
        """

    async def claim(
        self,
        key: RunKey,
        run_id: UUID,
        *,
        askers: Askers = NOBODY,
        may_begin: bool = True,
        place: Place | None = None,
    ) -> ClaimOutcome:
        """Claim an answer that a run of this process has waited for; a new run gets the id `run_id`.

        `askers` ask that it goes on without readers, beside those who asked before. `may_begin` False: no new run is
        begun, but ForbiddenError raised, unless another process waits for the same answer.

        `place` is where it waits; None: it has followed a run of another process. If it has to wait (on), the outcome
        is Waiting, else the place is given up. Who has followed a run comes before those who wait.

        A run of the same trigger whose lease has expired is taken over under its own id and a new epoch; if it was to
        be stopped, the outcome is Ended. Raises NotFoundError if the conversation or the trigger is gone,
        ValidationError if there is nothing to answer any more, UnavailableError if its provider is not configured.
        """

    async def history(self, key: RunKey, max_chars: int) -> tuple[Turn, ...]:
        """What stands before the trigger: the newest live messages that fit into `max_chars` characters.

        Whole messages, in reading order (each answer directly after the message it answers), without empty ones.
        """

    async def renew(self, run_ids: Collection[UUID]) -> Mapping[UUID, Renewal]:
        """The state of these runs of this process; those that it has lost are missing.

        Extends the leases of which at least a third is over.
        """

    async def next_epoch(self, run_id: UUID, epoch: int) -> Restarted | Lost:
        """Begin the answer anew in the epoch after `epoch`. May be repeated."""

    async def commit(self, run_id: UUID, epoch: int, answer: NewAnswer) -> Committed | Lost:
        """Store the answer and end the run, all or nothing. May be repeated with the same answer."""

    async def end(
        self,
        run_id: UUID,
        epoch: int,
        status: EndStatus,
        code: ErrorCode | None = None,
        message: str | None = None,
    ) -> None:
        """End a run without an answer. Does nothing if this process has lost it. May be repeated."""

    async def release(self, run_id: UUID) -> None:
        """Give up the lease of a run of this process, so that another process takes the run over at once."""

    async def set_continues(self, run_id: UUID, askers: Askers) -> None:
        """Have an active run, of whichever process, generated without readers, also on behalf of these.

        May be repeated.
        """

    async def ask_to_yield(self, conversation_id: UUID) -> UUID | None:
        """Ask another process that generates in the conversation to drop its run if nobody reads it; the run's id.

        None: no other process generates.
        """

    async def decline(self, run_ids: Collection[UUID]) -> None:
        """These runs of this process do not make way: somebody reads them."""

    async def yield_state(self, run_id: UUID) -> YieldState:
        """What has become of a run that was asked to make way."""

    async def renew_places(self, run_keys: Mapping[Place, RunKey], lost: Collection[Place]) -> PlacesRenewed:
        """Keep the places of answers that wait in this process; `lost` are those that are to be put back."""

    async def leave(self, place: Place) -> None:
        """Give up a place: nobody of this process waits for the answer any more."""

    async def abandoned(self) -> Collection[RunKey]:
        """Runs whose lease has expired, and that shall go on without readers for somebody who still has access."""

    async def sweep(self) -> None:
        """End the other runs whose lease has expired: their processes died, and nobody has asked for them."""

    async def clean(self) -> None:
        """Remove what processes that died told others of their answers."""

    async def require_conversation(self, companies: Companies, conversation_id: UUID) -> None:
        """Raises NotFoundError unless the conversation exists for these companies."""

    async def request_stop(self, conversation_id: UUID, run_id: UUID | None, *, keep: bool) -> UUID | None:
        """Ask the owner of the conversation's active run to stop it; the run's id, None if no process generates.

        `run_id`: only this run is meant; None: the one that is active now. The first request decides what is kept. A
        run whose lease has expired is stopped by this, and counts as none.
        """

    async def stop_state(self, run_id: UUID) -> StopState:
        """The state of a run whose stop was requested. If its lease has expired, this stops it."""


async def persist(write: Callable[[], Coroutine[Any, Any, T]], given_up: asyncio.Event | None = None) -> T:
    """The result of `write`, which is repeated while the database is away.

    `write` must be one that may be repeated. Raises DatabaseUnavailableError after PERSIST_SECONDS, in the middle of a
    try if need be, or, when `given_up` is set, after one more try.
    """
    given_up = given_up or asyncio.Event()
    clock = asyncio.get_running_loop().time
    deadline = clock() + PERSIST_SECONDS
    wait = FIRST_RETRY_SECONDS
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                return await write()
        except TimeoutError:
            raise DatabaseUnavailableError from None
        except DatabaseUnavailableError:
            if given_up.is_set() or clock() + wait > deadline:
                raise
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await given_up.wait()
        wait = min(2 * wait, LONGEST_RETRY_SECONDS)
