"""The steps in the life of an answer, and why a step may be interrupted.

Each step of `live/run.py` returns the next one; `Over` is the last.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from chatserver.errors import ErrorCode
from chatserver.live.outcomes import Claimed, Stored
from chatserver.providers.base import Finish

Outcome = Literal["done", "stopped", "error", "dropped", "elsewhere"]
"""How a run came to its end. `elsewhere`: this process did not generate the answer, so it does not count it."""


class Interrupt(enum.Enum):
    """Why a step is interrupted."""

    DROP = "the readers left"
    DISCARD = "it is stopped"
    KEEP = "it is stopped, and what was shown is kept"
    HAND_OVER = "this process ends"
    LOST = "another process took it over"


@dataclass(frozen=True, slots=True)
class WaitForTurn:
    """Wait until the run is the first in the queue of its conversation."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Wait for the end of a run of another process."""

    run_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim the answer for this process. If that is not possible yet, go `back` to the step before."""

    back: WaitForTurn | Follow


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait a moment before the step `then`: the conversation is busy in another process, or the database is away."""

    then: WaitForTurn | Follow


@dataclass(frozen=True, slots=True)
class Generate:
    """Take the answer from the model."""

    claimed: Claimed


@dataclass(frozen=True, slots=True)
class BeginAnew:
    """Generate the answer again: the model hung up while nobody was reading. Now somebody is."""

    claimed: Claimed


@dataclass(frozen=True, slots=True)
class Commit:
    """Store the answer. `kept`: it was stopped before its end, and what was shown is kept."""

    finish: Finish
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """End without an answer."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class ShowStored:
    """Show readers the answer that another process stored."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A step was interrupted, and has ended by now."""

    why: Interrupt


@dataclass(frozen=True, slots=True)
class Over:
    """The run has ended. `terminal` is its last event; None: readers are to come back and ask again."""

    outcome: Outcome
    terminal: dict[str, Any] | None = None


FirstStep = WaitForTurn | Follow | Generate
Step = WaitForTurn | Follow | Claim | Pause | Generate | BeginAnew | Commit | Fail | ShowStored | Interrupted | Over


def run_of(first_step: FirstStep) -> tuple[UUID, int] | None:
    """The run that a run begins with, and its epoch; None: the database knows none yet."""
    match first_step:
        case Follow(run_id, epoch) | Generate(Claimed(run_id, epoch)):
            return run_id, epoch
        case _:
            return None
