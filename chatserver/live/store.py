"""What the live layer asks of the storage: a Protocol, and what its answers look like.

`services/run_store.py` implements it on PostgreSQL. All methods may raise `DatabaseUnavailableError`; a commit that
raised it may have taken effect.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from chatserver.errors import ErrorCode
from chatserver.providers.base import Prompt, Provider, Usage


@dataclass(frozen=True, slots=True)
class RunKey:
    """Which answer: the conversation's to that trigger, None where there is no user message to answer."""

    company_id: UUID
    conversation_id: UUID
    trigger_id: UUID | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """This process makes the answer, in this epoch."""

    run_id: UUID
    epoch: int
    provider: Provider
    prompt: Prompt
    continues: bool = False
    """Whether somebody asked that it goes on without readers."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another process makes the answer, or did when it died; its lease tells which."""

    run_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer is in the database. `text` is its effective content; `kept`: it was stopped and kept."""

    run_id: UUID
    epoch: int
    message_id: UUID
    text: str
    edited: bool
    kept: bool
    usage: Usage | None
    stop_reason: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The run ended without an answer; `code` and `message` say why where it failed."""

    run_id: UUID
    epoch: int
    status: Literal["stopped", "failed", "dropped"]
    code: ErrorCode | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Busy:
    """Another trigger's answer is being generated in this conversation, or is to be."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What the database says of a run whose lease was renewed."""

    stop: Literal["discard", "keep"] | None
    followed: bool
    """Whether another process has readers for it."""
    continues: bool = False
    """Whether somebody, there or here, asked that it goes on without readers."""


ClaimOutcome = Claimed | Elsewhere | Stored | Ended | Busy
Look = Elsewhere | Stored | Ended


class RunStore(Protocol):
    """Claim, lease, commit."""

    async def claim(self, key: RunKey, run_id: UUID, *, continues: bool) -> ClaimOutcome:
        """Make the answer here, as run `run_id`, unless it is made or stored already, or another one is being made.

        A run of the same trigger whose lease is over is taken over, under its own id and a new epoch. Raises
        NotFoundError when the conversation or the trigger is gone, ValidationError when there is nothing to answer any
        more, and UnavailableError when its provider is not configured.
        """

    async def look(self, run_id: UUID) -> Look | None:
        """What became of a run that is made elsewhere, and tell its owner that it has readers here.

        None when its owner's lease is over (or there is no such run): claim it.
        """

    async def renew(self, run_ids: Collection[UUID]) -> Mapping[UUID, Renewal]:
        """Extend the leases of this process; runs that are no longer its own are left out."""

    async def next_epoch(self, run_id: UUID, epoch: int) -> int | None:
        """Begin the answer anew under the next epoch; None when the run is no longer ours. It may be repeated."""

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
        """Store the answer and end the run, all or nothing; False when the run is no longer ours, or its conversation
        was deleted.

        To be repeated with the same `message_id` when it is not known whether it took effect.
        """

    async def end(
        self,
        run_id: UUID,
        epoch: int,
        status: Literal["stopped", "failed", "dropped"],
        code: ErrorCode | None = None,
        message: str | None = None,
    ) -> None:
        """End a run without an answer; nothing happens when it is no longer ours."""

    async def release(self, run_ids: Collection[UUID]) -> None:
        """Give up the leases of runs that others shall take over."""

    async def set_continues(self, run_id: UUID) -> None:
        """Have the run go on without readers, on whichever process."""

    async def abandoned(self) -> Collection[RunKey]:
        """Runs that are to go on without readers and whose lease is over."""
