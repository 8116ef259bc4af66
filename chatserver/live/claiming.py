"""The claims of one run: tried again while the database is away, and from a place in the queue of the conversation."""

from __future__ import annotations

import asyncio
from uuid import UUID

from chatserver.errors import (
    DatabaseUnavailableError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
    ValidationError,
)
from chatserver.live import steps
from chatserver.live.demand import Demand
from chatserver.live.outcomes import ClaimOutcome, Place, RunKey, Waiting
from chatserver.live.store import PERSIST_SECONDS, AnswerStore
from chatserver.live.terminal_events import error_event, stopped_event


class Claiming:
    """`place` is where the run waits for its turn, if it does."""

    def __init__(self, store: AnswerStore, place: Place | None) -> None:
        self.place = place
        self._store = store
        self._away_since: float | None = None

    async def claim(self, key: RunKey, run_id: UUID, demand: Demand, step: steps.Claim) -> ClaimOutcome | steps.Step:
        """Claim the answer once. A step if it could not be tried, or if there is nothing to claim any more.

        Raises DatabaseUnavailableError if the database has been away for PERSIST_SECONDS.
        """
        askers, may_begin = demand.askers, demand.may_begin
        try:
            outcome = await self._store.claim(key, run_id, askers=askers, may_begin=may_begin, place=self.place)
        except ForbiddenError:
            # All who are here only read: they come back, and are refused. Unless somebody else came meanwhile.
            return step if demand.may_begin else steps.Over("elsewhere")
        except (NotFoundError, ValidationError):
            # The conversation, the message or its text was deleted meanwhile, which stops the answer.
            return steps.Over("elsewhere", stopped_event(None))
        except DatabaseUnavailableError:
            now = asyncio.get_running_loop().time()
            if self._away_since is None:
                self._away_since = now
            if now - self._away_since > PERSIST_SECONDS:
                raise
            return steps.Pause(then=step.back)
        except UnavailableError as error:
            return steps.Over("error", error_event("unavailable", error.message))
        self._away_since = None
        self.place = outcome.place if isinstance(outcome, Waiting) else None
        return outcome
