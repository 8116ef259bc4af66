"""What a run writes to the database: its answer, or how it ended without one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from uuid import UUID

from chatserver.errors import DatabaseUnavailableError, ErrorCode
from chatserver.ids import uuid7
from chatserver.live.journal import Journal
from chatserver.live.outcomes import EndStatus, Lost, Restarted
from chatserver.live.sharing import Sharing
from chatserver.live.store import AnswerStore, NewAnswer, persist
from chatserver.providers.base import Finish

logger = logging.getLogger(__name__)

# The greatest `integer` of PostgreSQL: 24 days. An answer that waits for its readers may take as long as they like.
LONGEST_DURATION_MS = 2**31 - 1


class RunRecord:
    """The row of a run. `owned`: this process holds its lease; without it `end` and `hand_over` do nothing.

    The fence guards the other writes.

    The run and its epoch are those of `journal`. During each write the answer is withdrawn from `sharing`.
    """

    def __init__(self, store: AnswerStore, sharing: Sharing, journal: Journal, *, owned: bool) -> None:
        self.owned = owned
        self._store = store
        self._sharing = sharing
        self._journal = journal
        self._given_up = asyncio.Event()
        self._model: str | None = None
        self._began = 0.0

    @property
    def given_up(self) -> bool:
        """Whether this process ends, and so waits no longer for a database that is away."""
        return self._given_up.is_set()

    def give_up(self) -> None:
        """Wait no longer for a database that is away: this process ends."""
        self._given_up.set()

    async def begin_anew(self) -> Restarted | Lost:
        """Begin the next epoch. Raises DatabaseUnavailableError."""
        run_id, epoch = self._journal.run_id, self._journal.epoch
        async with self._sharing.withdrawn(self._journal):
            return await persist(lambda: self._store.next_epoch(run_id, epoch), self._given_up)

    def generates(self, model: str | None) -> None:
        """This process begins to generate, in the epoch of the journal. `model` None: it has no name."""
        self._model = model
        self._began = asyncio.get_running_loop().time()

    async def commit(self, finish: Finish, *, kept: bool) -> UUID | Lost:
        """Store the journal's text as the answer, which is complete by now; the id of its message.

        Raises DatabaseUnavailableError.
        """
        journal, seconds = self._journal, asyncio.get_running_loop().time() - self._began
        reasoning = journal.reasoning or None
        answer = NewAnswer(
            uuid7(),
            journal.text,
            kept,
            finish.usage,
            finish.stop_reason,
            model=self._model,
            duration_ms=_milliseconds(seconds),
            reasoning=reasoning,
            reasoning_ms=None if reasoning is None else _milliseconds(journal.thought_seconds),
        )
        async with self._sharing.withdrawn(self._journal):
            result = await persist(lambda: self._store.commit(journal.run_id, journal.epoch, answer), self._given_up)
        return result if isinstance(result, Lost) else answer.message_id

    async def end(self, status: EndStatus, code: ErrorCode | None = None, message: str | None = None) -> None:
        """Write down that the run ended without an answer.

        If the database does not come back in time, the lease expires, and the run is taken over for the next client.
        """
        if not self.owned:
            return
        run_id, epoch = self._journal.run_id, self._journal.epoch
        try:
            async with self._sharing.withdrawn(self._journal):
                await persist(lambda: self._store.end(run_id, epoch, status, code, message), self._given_up)
        except DatabaseUnavailableError:
            logger.warning("run %s: its end could not be stored", run_id)

    async def hand_over(self, *, continues: bool) -> None:
        """Let other processes take the run over if it `continues`, else drop it.

        Tried once: a process that ends does not wait for the database.
        """
        if not self.owned:
            return
        with contextlib.suppress(DatabaseUnavailableError):
            async with self._sharing.withdrawn(self._journal):
                if continues:
                    await self._store.release(self._journal.run_id)
                else:
                    await self._store.end(self._journal.run_id, self._journal.epoch, "dropped")


def _milliseconds(seconds: float) -> int:
    return min(round(seconds * 1_000), LONGEST_DURATION_MS)
