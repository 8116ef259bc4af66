"""Leases of this process's runs: renew them, adopt abandoned runs, hand all over at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from uuid import UUID

from chatserver import logs
from chatserver.errors import ChatServerError, DatabaseUnavailableError, ForbiddenError
from chatserver.ids import uuid7
from chatserver.live.outcomes import Claimed, Place, RunKey
from chatserver.live.queue import Queues
from chatserver.live.run import Run
from chatserver.live.steps import Interrupt
from chatserver.live.store import AnswerStore

logger = logging.getLogger(__name__)

# How often this process looks at its runs in the database: stops and readers of other processes are noticed then, and
# leases renewed of which a third is over.
HEARTBEAT_SECONDS = 1.0
# How often runs of processes that died are looked for: those that shall go on without readers are taken over, and the
# others end. With the longest lease that is within 15 seconds.
SWEEP_SECONDS = 3.0
# What else such processes left behind is removed with one sweep in so many.
CLEAN_EVERY = 10
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
        self._told = asyncio.Event()
        self._to_look_at: set[UUID] | None = set()
        """What other processes want looked at now; None: everything."""
        self._missing: Collection[Place] = ()
        self._sweeps = 0

    @property
    def running(self) -> bool:
        """Whether the loops run."""
        return any(not task.done() for task in self._tasks)

    def start(self) -> None:
        """Begin both loops. No effect if they run already, or after `close`."""
        if not self._tasks and not self._closed:
            loops = (self._keep_looking(), _repeat(self._sweep, SWEEP_SECONDS, "the sweep failed"))
            self._tasks = [asyncio.create_task(loop, context=logs.without_request()) for loop in loops]

    def look(self, run_id: UUID | None = None) -> None:
        """Look at a run or a place of this process now; None: at all."""
        if run_id is None:
            self._to_look_at = None
        elif self._to_look_at is not None:
            self._to_look_at.add(run_id)
        self._told.set()

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

    # --- look at what is of this process -------------------------------------------------------------------

    async def _keep_looking(self) -> None:
        """Look at all runs at every heartbeat, and in between at those of which others tell: one look at a time."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + self._heartbeat_seconds
            self._told.clear()
            self._to_look_at = set()
            with _surviving("leases could not be renewed"):
                await self._look(None)
            while await self._told_before(due):
                named, self._to_look_at = self._to_look_at, set()
                self._told.clear()
                with _surviving("runs could not be looked at"):
                    await self._look(named)

    async def _told_before(self, due: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._told.wait()
                return True
        return False

    async def _look(self, named: Collection[UUID] | None) -> None:
        """Look at the runs and places that are named; None: at all, also where there are none.

        So this process notices when the database is away, whatever it has to do.
        """
        runs = tuple(self._queues)
        if named is not None:
            runs = tuple(run for run in runs if run.journal.run_id in named or (run.place and run.place.id in named))
        owned = {run.journal.run_id: run for run in runs if run.owned}
        ids = list(owned)
        for at in range(0, max(len(ids), named is None), RUNS_AT_ONCE):
            await self._renew({run_id: owned[run_id] for run_id in ids[at : at + RUNS_AT_ONCE]})
        waiting = {run.place: run for run in runs if run.place is not None}
        if waiting:
            await self._renew_places(waiting, heartbeat=named is None)

    async def _renew(self, owned: Mapping[UUID, Run]) -> None:
        # If the database is down, no other process can take our runs. If only our connection is down, another process
        # may, and the fence rejects our later writes.
        renewals = await self._store.renew(owned.keys())
        stay = []
        for run_id, run in owned.items():
            if run.owned and run.journal.run_id == run_id:
                renewal = renewals.get(run_id)
                run.renewed(renewal)
                if renewal is not None and renewal.asked_to_yield and run.wanted:
                    stay.append(run_id)
        if stay:
            await self._store.decline(stay)

    async def _renew_places(self, waiting: Mapping[Place, Run], *, heartbeat: bool) -> None:
        # A claim that is under way removes a place, so only those that are missing at two heartbeats are put back.
        missing = self._missing if heartbeat else ()
        lost = [place for place in missing if place in waiting and waiting[place].place == place]
        renewed = await self._store.renew_places({place: run.key for place, run in waiting.items()}, lost)
        if heartbeat:
            self._missing = renewed.missing
        for place in renewed.stopped:
            if waiting[place].place == place:
                waiting[place].interrupt(Interrupt.DISCARD)

    # --- look after what is of nobody ----------------------------------------------------------------------

    async def _sweep(self) -> None:
        await self._adopt()
        await self._store.sweep()
        self._sweeps += 1
        if self._sweeps % CLEAN_EVERY == 0:
            await self._store.clean()

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
