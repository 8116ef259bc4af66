"""Leases of this process's runs: renew them, adopt abandoned runs, hand all over at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from uuid import UUID

from chatserver import logs
from chatserver.errors import ChatServerError, DatabaseUnavailableError, ForbiddenError
from chatserver.ids import uuid7
from chatserver.live.outcomes import Claimed, RunKey
from chatserver.live.queue import Queues
from chatserver.live.run import Run
from chatserver.live.store import AnswerStore

logger = logging.getLogger(__name__)

# How often this process looks at its runs in the database: stops and readers of other processes are noticed then, and
# leases renewed of which a third is over.
HEARTBEAT_SECONDS = 1.0
# How often abandoned runs are looked for: they shall go on without readers, and their process died.
SWEEP_SECONDS = 5.0
# How long handing over may take when the database does not answer. After that the leases expire by themselves.
HAND_OVER_SECONDS = 3.0
# How many runs one statement looks at. To read what it says and to tell the runs takes about 2 ms of the loop.
RUNS_AT_ONCE = 256


class Leases:
    """Two loops in the background, from `start` to `close`.

    `add` begins a run that was claimed. `accepts_runs` says whether a further one may be begun.
    """

    def __init__(
        self,
        store: AnswerStore,
        queues: Queues[Run],
        add: Callable[[RunKey, Claimed], Run],
        accepts_runs: Callable[[], bool],
        *,
        lease_seconds: float,
    ) -> None:
        self._store = store
        self._queues = queues
        self._add = add
        self._accepts_runs = accepts_runs
        self._heartbeat_seconds = min(HEARTBEAT_SECONDS, lease_seconds / 5)
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether the loops run."""
        return any(not task.done() for task in self._tasks)

    def start(self) -> None:
        """Begin both loops. No effect if they run already, or after `close`."""
        if not self._tasks and not self._closed:
            renewing = _repeat(self._renew, self._heartbeat_seconds, "leases could not be renewed")
            adopting = _repeat(self._adopt, SWEEP_SECONDS, "abandoned runs could not be looked for")
            self._tasks = [asyncio.create_task(loop, context=logs.without_request()) for loop in (renewing, adopting)]

    async def close(self) -> None:
        """Hand over all runs for which HAND_OVER_SECONDS are enough, and end the loops.

        May be called again, also while it goes on. Leases are renewed until the last run is handed over.
        """
        self._closed = True
        try:
            # A request that was claiming when the process began to drain may still add a run.
            while runs := list(self._queues):
                async with asyncio.timeout(HAND_OVER_SECONDS):
                    await asyncio.gather(*(run.hand_over() for run in runs))
        except TimeoutError:
            logger.warning("%d answers could not be handed over in time", len(self._queues))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _renew(self) -> None:
        runs = tuple(self._queues)
        for at in range(0, len(runs), RUNS_AT_ONCE):
            owned = {run.journal.run_id: run for run in runs[at : at + RUNS_AT_ONCE] if run.owned}
            if owned:
                await self._renew_owned(owned)

    async def _renew_owned(self, owned: Mapping[UUID, Run]) -> None:
        # If the database is down, no other process can take our runs. If only our connection is down, another process
        # may, and the fence rejects our later writes.
        renewals = await self._store.renew(owned.keys())
        for run_id, run in owned.items():
            if run.owned and run.journal.run_id == run_id:
                run.renewed(renewals.get(run_id))

    async def _adopt(self) -> None:
        if not self._accepts_runs():
            return
        for key in await self._store.abandoned():
            if self._accepts_runs():
                await self._adopt_one(key)

    async def _adopt_one(self, key: RunKey) -> None:
        queue = self._queues.of(key.conversation_id)
        async with queue.locked():
            # A run that follows it takes it over by itself, and one that this process generates comes first.
            if queue.find(key) is not None or queue.owned is not None:
                return
            try:
                outcome = await self._store.claim(key, uuid7(), may_begin=False)
            except DatabaseUnavailableError:
                raise
            except ForbiddenError:  # it has ended meanwhile
                return
            except ChatServerError as error:
                logger.info("an abandoned run cannot be taken over: %s", error.message)
            else:
                if isinstance(outcome, Claimed):
                    self._add(key, outcome)


async def _repeat(work: Callable[[], Awaitable[None]], seconds: float, failure: str) -> None:
    """Do the work every so many seconds."""
    while True:
        with _surviving(failure):
            await work()
        await asyncio.sleep(seconds)


@contextlib.contextmanager
def _surviving(failure: str) -> Iterator[None]:
    """Keeps a background loop alive: logs errors, ignores an unavailable database."""
    try:
        yield
    except DatabaseUnavailableError:
        pass
    except Exception:
        logger.exception(failure)
