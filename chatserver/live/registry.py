"""Which answers are in the making here: at most one line of them for each conversation, the first being generated."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID
from weakref import WeakValueDictionary

from chatserver.errors import ChatServerError, DatabaseUnavailableError
from chatserver.ids import uuid7
from chatserver.live.run import Queued, Run, Surroundings
from chatserver.live.store import Claimed, Elsewhere, RunKey, RunStore
from chatserver.metrics import Metrics

logger = logging.getLogger(__name__)

# How often leases are renewed, and stops and readers from elsewhere are noticed.
HEARTBEAT_SECONDS = 1.0
# How often runs are looked for that are to go on without readers and whose process died.
SWEEP_SECONDS = 5.0


class Registry:
    """The runs of this process. All its methods belong to the loop's thread."""

    def __init__(
        self,
        store: RunStore,
        metrics: Metrics,
        *,
        lease_seconds: float,
        resume_grace_seconds: float,
        max_answer_chars: int,
        max_runs: int,
    ) -> None:
        self.draining = False
        self._store = store
        self._metrics = metrics
        self._heartbeat_seconds = min(HEARTBEAT_SECONDS, lease_seconds / 5)
        self._max_runs = max_runs
        self._lines: dict[UUID, list[Run]] = {}
        self._count = 0
        self._places = 0
        self._turns: dict[Run, asyncio.Future[None]] = {}
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._tasks: list[asyncio.Task[None]] = []
        self._surroundings = Surroundings(
            store=store,
            metrics=metrics,
            resume_grace_seconds=resume_grace_seconds,
            max_answer_chars=max_answer_chars,
            turn=self._turn,
            is_first=self._is_first,
            exclusively=self.exclusively,
            settled=self._settled,
        )

    # --- what there is ------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether no further run may be added."""
        return self.draining or self._count + self._places >= self._max_runs

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Keep room for a run that may be added in here; whether there is any."""
        full = self.full
        self._places += 1
        try:
            yield not full
        finally:
            self._places -= 1

    def __iter__(self) -> Iterator[Run]:
        for line in self._lines.values():
            yield from line

    def line(self, conversation_id: UUID) -> Sequence[Run]:
        """The runs of a conversation; the first is the active one, the others wait for their turn."""
        return tuple(self._lines.get(conversation_id, ()))

    def exclusively(self, conversation_id: UUID) -> asyncio.Lock:
        """The lock under which the runs of a conversation are claimed and added, first come, first served."""
        lock = self._locks.get(conversation_id)
        if lock is None:
            lock = self._locks[conversation_id] = asyncio.Lock()
        return lock

    def add(
        self, key: RunKey, first_step: Queued | Claimed | Elsewhere, *, continues: bool, next_in_line: bool = False
    ) -> Run:
        """Start a run, at the end of its conversation's line, or `next_in_line` after the active one."""
        self.start()
        run = Run(key, first_step, self._surroundings, continues=continues)
        line = self._lines.setdefault(key.conversation_id, [])
        line.insert(1 if next_in_line and line else len(line), run)
        self._count += 1
        self._metrics.runs.set(self._count)
        run.start()
        return run

    # --- what runs ask ------------------------------------------------------------------------------------

    def _is_first(self, run: Run) -> bool:
        return self._lines[run.key.conversation_id][0] is run

    async def _turn(self, run: Run) -> None:
        if self._is_first(run):
            return
        future = self._turns[run] = asyncio.get_running_loop().create_future()
        try:
            await future
        finally:
            del self._turns[run]

    def _settled(self, run: Run) -> None:
        line = self._lines[run.key.conversation_id]
        line.remove(run)
        if not line:
            del self._lines[run.key.conversation_id]
        elif (turn := self._turns.get(line[0])) is not None and not turn.done():
            turn.set_result(None)
        self._count -= 1
        self._metrics.runs.set(self._count)
        if run.outcome is not None and run.outcome != "elsewhere":
            self._metrics.run_ended(run.outcome)

    # --- from start to end of the process -----------------------------------------------------------------

    def start(self) -> None:
        """Begin to renew leases and to look for abandoned runs; the first run does it, too."""
        if self._tasks:
            return
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._renew_leases()), loop.create_task(self._adopt_abandoned())]

    async def _renew_leases(self) -> None:
        while True:
            with _outlive("leases could not be renewed"):
                await self._renew_once()
            await asyncio.sleep(self._heartbeat_seconds)

    async def _renew_once(self) -> None:
        owned = {run.journal.run_id: run for run in self if run.owned}
        if owned:
            # Whoever cannot renew cannot be overtaken either, unless the database is away for us alone; then the fence
            # decides when we come back.
            renewals = await self._store.renew(owned.keys())
            for run_id, run in owned.items():
                if run.owned and run.journal.run_id == run_id:
                    run.renewed(renewals.get(run_id))

    async def _adopt_abandoned(self) -> None:
        while not self.draining:
            with _outlive("abandoned runs could not be looked for"):
                for key in await self._store.abandoned():
                    if not self.full:
                        await self._adopt(key)
            await asyncio.sleep(SWEEP_SECONDS)

    async def _adopt(self, key: RunKey) -> None:
        async with self.exclusively(key.conversation_id):
            # Who waits in its conversation waits for it; who follows it takes it over.
            if any(run.key == key or run.owned for run in self.line(key.conversation_id)):
                return
            try:
                outcome = await self._store.claim(key, uuid7(), continues=True)
            except DatabaseUnavailableError:
                raise
            except ChatServerError as error:
                logger.info("an abandoned run cannot be taken over: %s", error.message)
            else:
                if isinstance(outcome, Claimed):
                    self.add(key, outcome, continues=True)

    async def finish_continuing(self) -> None:
        """Until no run is left that goes on without readers."""
        while continuing := [run for run in self if run.continues]:
            await continuing[0].wait_settled()

    async def close(self) -> None:
        """Hand over what is still going; idempotent."""
        self.draining = True
        # Requests that were claiming when the drain began may still add one.
        while runs := list(self):
            await asyncio.gather(*(run.hand_over() for run in runs))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.contextmanager
def _outlive(what: str) -> Iterator[None]:
    """Have a loop go on whatever happens in one of its rounds; that the database is away is nothing to be told."""
    try:
        yield
    except DatabaseUnavailableError:
        pass
    except Exception:
        logger.exception(what)
