"""What the storage answers to the live layer: how a claim, a look, a renewal or a write came out."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from chatserver.errors import ErrorCode
from chatserver.providers.base import Prompt, Provider, Usage

Askers = frozenset[UUID | None]
"""On whose behalf an answer goes on without readers: tokens, by their ids. Empty: it does not.

None is among them if somebody asked for it who needs no token. Then it goes on whichever tokens lose access.
"""
NOBODY: Askers = frozenset()
EndStatus = Literal["stopped", "failed", "dropped"]


@dataclass(frozen=True, slots=True)
class RunKey:
    """Names an answer: the conversation's answer to a trigger. `trigger_id` None: there is no user message."""

    company_id: UUID
    conversation_id: UUID
    trigger_id: UUID | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """This process generates the answer, in this epoch.

    `prompt` holds the question alone; the messages before it are read outside the claim (`AnswerStore.history`).
    `askers`: on whose behalf it is generated without readers. `history_chars`: how many characters of earlier messages
    the prompt has room for; 0: none are read.
    """

    run_id: UUID
    epoch: int
    provider: Provider
    prompt: Prompt
    askers: Askers = NOBODY
    history_chars: int = 0


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another process generates the answer and holds its lease."""

    run_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer is stored. `text` is its effective content; `kept`: it was stopped, and what was shown was kept."""

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
    """The run ended without an answer. `code` and `message` say why a failed one failed."""

    run_id: UUID
    epoch: int
    status: EndStatus
    code: ErrorCode | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an answer in the queue of its conversation, over all processes: the lowest `number` comes first.

    Answers to one trigger that wait at several processes have one number. `interrupts`: it waits because it interrupted
    another answer.
    """

    id: UUID
    number: int
    interrupts: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another answer of the conversation comes first, or its company has as many as it may have. It has this place."""

    place: Place


@dataclass(frozen=True, slots=True)
class Busy:
    """Another answer of the conversation comes first, and nothing was stored.

    `in_the_way`: the run of another process, which was asked to drop it if nobody reads it. None: the answer that was
    asked for waits in this process already.
    """

    in_the_way: UUID | None = None


@dataclass(frozen=True, slots=True)
class Orphaned:
    """No process holds the run's lease, or there is no such run: it may be claimed."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The run is begun anew in this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The answer is stored."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The run is no longer this process's: another one took it over, it ended, or its conversation was deleted."""


ClaimOutcome = Claimed | Elsewhere | Stored | Ended | Waiting
RunOver = Stored | Ended | Orphaned
RunState = Elsewhere | RunOver


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer that a client asked for. `reset`: the client's event id does not belong to it."""

    key: RunKey
    outcome: ClaimOutcome | Busy
    reset: bool


@dataclass(frozen=True, slots=True)
class Renewal:
    """The state of a run whose lease was renewed.

    `followed`: other processes have readers of it. `askers`: on whose behalf it is generated without readers.
    `asked_to_yield`: another process asks that it is dropped if nobody reads it.
    """

    stop: Literal["discard", "keep"] | None
    followed: bool
    askers: Askers = NOBODY
    asked_to_yield: bool = False


class StopState(enum.Enum):
    """The state of a run whose owner was asked to stop it."""

    PENDING = "its owner has not reacted yet"
    STOPPED = "it was stopped"
    ENDED = "it came to another end first"


class YieldState(enum.Enum):
    """The state of a run that was asked to make way."""

    PENDING = "its owner has not looked yet"
    GONE = "it has ended"
    STAYS = "somebody reads it"


@dataclass(frozen=True, slots=True)
class PlacesRenewed:
    """`missing`: the database knows these places no more. `stopped`: another process asks that these answers end."""

    missing: Collection[Place] = ()
    stopped: Collection[Place] = ()
