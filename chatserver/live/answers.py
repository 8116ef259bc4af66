"""The front door to answers in the making: open one, join it, stop it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from uuid import UUID

from chatserver import logs
from chatserver.errors import DatabaseUnavailableError, UnavailableError
from chatserver.live import steps
from chatserver.live.asking import find_run, open_request
from chatserver.live.leases import Leases
from chatserver.live.making_way import looks, makes_way
from chatserver.live.options import StreamOptions
from chatserver.live.outcomes import (
    NOBODY,
    Askers,
    Busy,
    Claimed,
    Elsewhere,
    Ended,
    Opened,
    Place,
    RunKey,
    StopState,
    Stored,
    Waiting,
)
from chatserver.live.queue import ConversationQueue, Queues
from chatserver.live.reader import Reader
from chatserver.live.replay import replay
from chatserver.live.run import Run
from chatserver.live.run_context import RunContext
from chatserver.live.steps import FirstStep, Interrupt
from chatserver.live.store import Companies, NewMessage
from chatserver.origin import share

# How long a stop waits for an owner elsewhere. By then the owner has reacted, or its lease has expired.
STOP_SECONDS = 20.0
# How long the deletion of a conversation waits for its answer to be stopped.
STOP_FOR_DELETE_SECONDS = 5.0


class Answers:
    """The answers that this process generates, follows, or keeps in a queue. All methods belong to the loop's thread.

    `draining`: no further run is begun.
    """

    def __init__(
        self,
        context: RunContext,
        *,
        lease_seconds: float,
        max_runs: int,
    ) -> None:
        self.draining = False
        self._context = context
        self._store = store = context.store
        self._metrics = context.metrics
        self._queues: Queues[Run] = Queues(max_runs)
        self._leases = Leases(store, self._queues, self._adopt, lambda: self.accepts_runs, lease_seconds=lease_seconds)
        self._tasks: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Run]:
        return iter(self._queues)

    @property
    def accepts_runs(self) -> bool:
        """Whether a further run may be begun."""
        return not (self.draining or self._queues.full)

    def __len__(self) -> int:
        """How many answers there are."""
        return len(self._queues)

    # --- open and join ------------------------------------------------------------------------------------

    async def open(self, companies: Companies, conversation_id: UUID, options: StreamOptions) -> Reader:
        """A reader of the answer to a trigger. The answer is begun if nobody has begun it yet.

        The reader must be closed. Raises NotFoundError, ValidationError, ForbiddenError, ConflictError and
        UnavailableError.
        """
        reader, _ = await self._open(companies, conversation_id, options, None)
        return reader

    async def send(
        self, companies: Companies, conversation_id: UUID, message: NewMessage, options: StreamOptions
    ) -> tuple[Reader, UUID]:
        """Add a user message; a reader of its answer, and the message's id.

        A message that was sent before under the same idempotency key is not added again. Raises what `open` does, and
        UnprocessableError if the key was used with another body; then nothing is stored.
        """
        reader, trigger_id = await self._open(companies, conversation_id, options, message)
        assert trigger_id is not None
        return reader, trigger_id

    async def _open(
        self, companies: Companies, conversation_id: UUID, options: StreamOptions, message: NewMessage | None
    ) -> tuple[Reader, UUID | None]:
        """The reader, and the trigger of its answer."""
        queue = self._queues.of(conversation_id)
        asked = False
        while True:
            joining, in_the_way = options, None
            run = None if message is not None else find_run(queue, companies, options)
            if run is None:
                async with queue.locked():
                    # Another client may have begun it while this one waited.
                    run = None if message is not None else find_run(queue, companies, options)
                    if run is None:
                        with self._queues.reserve() as has_room:
                            request = open_request(queue, companies, conversation_id, options, message)
                            at_capacity = self.draining or not has_room
                            opened = await self._store.open(replace(request, at_capacity=at_capacity, asked=asked))
                            if isinstance(opened.outcome, Stored | Ended):
                                return replay(opened, options), opened.key.trigger_id
                            if opened.reset:
                                joining = replace(options, resume=None, reset=True)
                            run = self._begin(queue, opened, options)
                            in_the_way = opened.outcome.in_the_way if isinstance(opened.outcome, Busy) else None
            if in_the_way is not None:
                await makes_way(self._store, in_the_way)
                asked = True
            elif run is None:
                continue
            elif run.joinable:
                return await self._join(run, joining), run.key.trigger_id
            else:
                # It is being stopped or dropped. Afterwards the database knows how it ended.
                await run.wait_settled()

    def _begin(self, queue: ConversationQueue[Run], opened: Opened, options: StreamOptions) -> Run | None:
        """The run of an answer that is not stored: the one that is here already, or a new one.

        None: there is none, so ask the database again: the one that was here has ended meanwhile, or an answer of
        another process comes first.
        """
        key, outcome = opened.key, opened.outcome
        run = queue.find(key)
        if run is not None:
            return run
        match outcome:
            case Claimed():
                return self._add(key, steps.Generate(outcome))
            case Elsewhere():
                return self._add(key, steps.Follow(outcome.run_id, outcome.epoch))
            case Waiting():
                return self._wait(queue, key, outcome.place, options)
            case _:
                return None

    def _wait(self, queue: ConversationQueue[Run], key: RunKey, place: Place, options: StreamOptions) -> Run:
        """Add a run that waits at its place. Answers here that nobody reads, and interrupted ones, make way for it."""
        others = queue.runs
        run = self._add(key, steps.WaitForTurn(), options.askers_in(key.company_id), place)
        for other in others:
            if not other.wanted:
                other.interrupt(Interrupt.DROP)
            # Stop the answer that is being generated, and those that wait because they interrupted it. Enqueued ones
            # keep their places.
            elif place.interrupts and (other.owned or other.interrupts):
                other.interrupt(Interrupt.DISCARD)
        return run

    async def _join(self, run: Run, options: StreamOptions) -> Reader:
        """A reader of the run. If the run is to continue, the database knows it by then."""
        company_id = run.key.company_id
        askers, may_begin = options.askers_in(company_id), options.begins(company_id)
        asks_now = not askers <= run.askers
        reader = run.join(options.resume, reset=options.reset, askers=askers, may_begin=may_begin)
        try:
            if asks_now:
                await self._store.set_continues(run.journal.run_id, askers)
        except BaseException:
            reader.close()
            raise
        return reader

    # --- stop ---------------------------------------------------------------------------------------------

    async def stop(self, companies: Companies, conversation_id: UUID, *, keep: bool) -> bool:
        """Stop the answer that is being generated; whether there was one.

        When this returns, the model's connection is closed, and the kept part, if any, is stored. Raises NotFoundError,
        and UnavailableError if the process that generates the answer does not react.
        """
        await self._store.require_conversation(companies, conversation_id)
        return await self._stop(conversation_id, keep=keep)

    async def stop_for_delete(self, conversation_id: UUID) -> None:
        """Stop the answer of a conversation whose deletion has been committed, and with it the request to stop.

        Never fails, and returns in time: the deletion has taken effect, whatever becomes of the stop.
        """
        with contextlib.suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(STOP_FOR_DELETE_SECONDS):
                await self._stop(conversation_id, keep=False)

    async def _stop(self, conversation_id: UUID, *, keep: bool) -> bool:
        queue = self._queues.of(conversation_id)
        async with queue.locked():
            run = queue.owned
        run_id = None
        if run is not None:
            run_id = run.journal.run_id
            if await run.stop(keep=keep) or not run.joinable:
                return run.outcome == "stopped"
        # Another process generates it, or has taken this run over by now. Then the stop is meant for no other run.
        run_id = await self._store.request_stop(conversation_id, run_id, keep=keep)
        if run_id is None:
            return False
        async for _ in looks(STOP_SECONDS):
            state = await self._store.stop_state(run_id)
            if state is not StopState.PENDING:
                return state is StopState.STOPPED
        raise UnavailableError("The process that generates the answer does not react")

    async def drop_unread(self, conversation_id: UUID) -> None:
        """End the conversation's answers, of any process, that have no readers and do not continue without."""
        for run in self._queues.of(conversation_id).runs:
            await run.drop()
        elsewhere = await self._store.ask_to_yield(conversation_id)
        if elsewhere is not None:
            await makes_way(self._store, elsewhere)

    def end_waiting(self, conversation_id: UUID, trigger_id: UUID) -> None:
        """End an answer that waits for its turn, as stopped: its trigger was erased."""
        for run in self._queues.of(conversation_id).runs:
            if run.key.trigger_id == trigger_id and not run.owned:
                run.interrupt(Interrupt.DISCARD)

    # --- access -------------------------------------------------------------------------------------------

    def askers(self) -> set[UUID]:
        """The tokens on whose behalf answers of this process go on without readers, queued ones included."""
        return {token for run in self for token in run.askers if token is not None}

    def forsake(self, tokens: Collection[UUID]) -> None:
        """These tokens have lost access for good: on their behalf alone no answer goes on.

        An answer that has readers goes on for them; one that has none, now or in the next seconds, is dropped at once.
        """
        lost = frozenset(tokens)
        for run in self:
            run.forsake(lost)

    # --- the life of runs ---------------------------------------------------------------------------------

    def _add(self, key: RunKey, first_step: FirstStep, askers: Askers = NOBODY, place: Place | None = None) -> Run:
        self.start()
        queue = self._queues.of(key.conversation_id)
        run = Run(key, first_step, queue, self._context, askers=askers, place=place)
        self._queues.add(run)
        self._metrics.runs.set(len(self._queues))
        context = logs.without_request()
        if share.get() is not None:  # where nobody is signed in, there are no shares
            context.run(share.set, key.company_id)
        task = asyncio.get_running_loop().create_task(self._live(run), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    def _adopt(self, key: RunKey, claimed: Claimed) -> Run:
        return self._add(key, steps.Generate(claimed))

    async def _live(self, run: Run) -> None:
        try:
            await run.run()
        finally:
            self._queues.remove(run)
            self._metrics.runs.set(len(self._queues))
            if run.outcome is not None and run.outcome != "elsewhere":
                self._metrics.run_ended(run.outcome)
        if run.place is not None:
            with contextlib.suppress(DatabaseUnavailableError):  # then it expires
                await self._store.leave(run.place)

    def start(self) -> None:
        """Begin to renew leases and to adopt abandoned runs. The first run starts this, too."""
        self._leases.start()

    def heard(self, payload: str) -> None:
        """Another process tells of something in the database that this one is to look at now, not at the next poll.

        `run ID`: a run of this process, or the place of one; `turn ID`: the queue of a conversation. An empty payload:
        hints may have been lost, so look at everything.
        """
        kind, _, name = payload.partition(" ")
        if not kind:
            self._leases.look()
            self._queues.hint()
        elif kind == "run":
            self._leases.look(UUID(name))
        elif kind == "turn":
            self._queues.hint(UUID(name))

    async def finish_continuing(self) -> None:
        """Return when no run is left that goes on without readers."""
        while continuing := [run for run in self if run.askers]:
            await continuing[0].wait_settled()

    async def close(self) -> None:
        """Begin nothing more, hand over all runs, and end those that wait for a database that is away.

        May be called again.
        """
        self.draining = True
        await self._leases.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._context.following.close()
        await self._context.sharing.close()
