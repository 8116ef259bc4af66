"""The life of one answer: wait for its turn, claim it, follow or generate it, end.

A run is a loop over the steps of `live/steps.py`. Waiting, following and generating can be interrupted: the readers
left, somebody stopped the answer, another process took it over. Claim and commit cannot, so the run always knows what
the database says.
"""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

from chatserver.errors import DatabaseUnavailableError, ProviderError
from chatserver.ids import uuid7
from chatserver.live import steps
from chatserver.live.claiming import Claiming
from chatserver.live.demand import Demand
from chatserver.live.generation import AnswerSink, hung_up_in_pause
from chatserver.live.interruption import Interruption
from chatserver.live.journal import Journal
from chatserver.live.outcomes import (
    NOBODY,
    Askers,
    Claimed,
    ClaimOutcome,
    Elsewhere,
    Ended,
    Lost,
    Place,
    Renewal,
    RunKey,
    Stored,
    Waiting,
)
from chatserver.live.prompt import whole_prompt
from chatserver.live.queue import ConversationQueue
from chatserver.live.reader import Reader
from chatserver.live.record import RunRecord
from chatserver.live.run_context import RunContext
from chatserver.live.steps import Interrupt, Outcome
from chatserver.live.terminal_events import FAILED, done_event, end_without_answer, error_event, stopped_event
from chatserver.live.waiting import follow, pause, show_stored, wait_for_turn
from chatserver.providers.base import Finish
from chatserver.sse import FIRST_EPOCH, EventId

logger = logging.getLogger(__name__)

# How often an answer is begun anew because the model hung up while nobody was reading.
RESTARTS = 5


class Run:
    """The answer to `key`, as long as this process generates it, follows it, or keeps it in `queue`.

    `run` is its life. While the run waits or follows, the run id of `journal` is provisional.
    """

    def __init__(
        self,
        key: RunKey,
        first_step: steps.FirstStep,
        queue: ConversationQueue[Run],
        context: RunContext,
        *,
        askers: Askers,
        place: Place | None = None,
    ) -> None:
        self.key = key
        self.outcome: Outcome | None = None
        self.interrupts = place is not None and place.interrupts
        """Whether it was begun in order to take the place of another answer."""
        self._queue = queue
        self._context = context
        self._first_step = first_step
        claimed = first_step.claimed if isinstance(first_step, steps.Generate) else None
        known = steps.run_of(first_step)
        self._named = known is not None
        """Whether the journal's run id is one that the database knows."""
        name = known or (uuid7() if place is None else place.id, FIRST_EPOCH)
        self.journal = Journal(*name, clock=asyncio.get_running_loop().time)
        self._claiming = Claiming(context.store, place)
        self._record = RunRecord(context.store, context.sharing, self.journal, owned=claimed is not None)
        self._interruption = Interruption()
        self._demand = Demand(
            context.resume_grace_seconds,
            lambda: self.interrupt(Interrupt.DROP),
            askers=askers if claimed is None else askers | claimed.askers,
            has_grace=claimed is not None,
        )
        self._restarts = 0
        self._settled = asyncio.Event()
        self._connection_closed = asyncio.Event()

    # --- who wants it -------------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether the next delta shall be taken from the model."""
        return self._demand.wanted

    @property
    def askers(self) -> Askers:
        """On whose behalf the answer is generated to its end without readers."""
        return self._demand.askers

    @property
    def joinable(self) -> bool:
        """Whether a reader that joins now sees the end of the answer. If not, wait until the run is settled."""
        return self._interruption.why in (None, Interrupt.LOST) and not self._settled.is_set()

    @property
    def place(self) -> Place | None:
        """Where it waits for its turn, among all processes; None: it does not, or has not been told yet."""
        return self._claiming.place

    @property
    def owned(self) -> bool:
        """Whether this process generates the answer, and so renews its lease."""
        return self._record.owned and self._interruption.why is not Interrupt.LOST

    def join(
        self, resume: EventId | None = None, *, reset: bool = False, askers: Askers = NOBODY, may_begin: bool = True
    ) -> Reader:
        """A new reader, for a client that has all up to and with the event `resume`; None: it has nothing.

        `may_begin`: the client may begin an answer. The run must be `joinable`. The reader must be closed.
        """
        self._demand.add_reader(askers, may_begin=may_begin)
        lags = not self._record.owned
        return Reader.join(self.journal, resume, reset=reset, lags=lags, on_close=self._demand.remove_reader)

    def renewed(self, renewal: Renewal | None) -> None:
        """Take in what the database says of the lease; None: this process has lost it."""
        if renewal is None:
            self.interrupt(Interrupt.LOST)
            return
        self._demand.add_askers(renewal.askers)
        self._demand.set_followed(renewal.followed)
        self._context.sharing.share(self.journal, renewal.followed)
        if renewal.asked_to_yield and not self.wanted:
            self.interrupt(Interrupt.DROP)
        if renewal.stop is not None:
            self.interrupt(Interrupt.KEEP if renewal.stop == "keep" else Interrupt.DISCARD)

    def forsake(self, tokens: frozenset[UUID]) -> None:
        """These tokens have lost access for good. If nobody else wants the answer, it is dropped without a grace."""
        self._demand.forsake(tokens)

    # --- ends from outside --------------------------------------------------------------------------------

    async def stop(self, *, keep: bool) -> bool:
        """End the answer for all readers; return when the model's connection is closed.

        False if the answer came to its end first, or another process took it over.
        """
        self.interrupt(Interrupt.KEEP if keep else Interrupt.DISCARD)
        await self._connection_closed.wait()
        return self.outcome == "stopped"

    async def drop(self) -> None:
        """End the run if nobody wants it; return when it has ended. Only wait for one that is being stopped."""
        if not self.wanted or not self.joinable:
            self.interrupt(Interrupt.DROP)
            await self.wait_settled()

    async def hand_over(self) -> None:
        """End the run because this process ends; other processes take over what has to go on."""
        self._record.give_up()
        self.interrupt(Interrupt.HAND_OVER)
        await self.wait_settled()

    async def wait_settled(self) -> None:
        """Return when the run has ended in this process."""
        await self._settled.wait()

    def interrupt(self, why: Interrupt) -> None:
        """Interrupt the current step. No effect while the answer is committed, and once the run has ended."""
        self._interruption.request(why)

    # --- the loop -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take step after step until the run is over. To be called once, as a task."""
        over = steps.Over("error", error_event("internal", FAILED))
        step: steps.Step = self._first_step
        try:
            while not isinstance(step, steps.Over):
                step = await self._take(step)
            over = step
        except DatabaseUnavailableError as error:
            # Nothing can be written now. The lease expires by itself.
            over = steps.Over("error", error_event("unavailable", error.message))
        except Exception:
            logger.exception("run %s", self.journal.run_id)
            await self._record.end("failed", "internal", FAILED)
        finally:
            self._context.sharing.share(self.journal, followed=False)
            self.journal.end(over.terminal)
            self.outcome = over.outcome
            self._demand.close()
            self._interruption.close()
            self._record.owned = False
            self._connection_closed.set()
            self._settled.set()

    async def _take(self, step: steps.Step) -> steps.Step:
        """Take one step; the next one."""
        match step:
            case steps.WaitForTurn():
                return await self._interruption.interruptible(wait_for_turn(self._queue, self, step))
            case steps.Follow():
                return await self._interruption.interruptible(follow(self._context.following, self.journal, step))
            case steps.Pause():
                return await self._interruption.interruptible(pause(self._queue, step))
            case steps.Generate():
                return await self._interruption.interruptible(self._generate(step.claimed))
            case steps.Claim():
                return await self._claim(step)
            case steps.BeginAnew():
                return await self._begin_anew(step)
            case steps.Commit():
                return await self._commit(step)
            case steps.Fail():
                await self._record.end("failed", step.code, step.message)
                return steps.Over("error", error_event(step.code, step.message))
            case steps.ShowStored():
                return show_stored(self.journal, step.stored)
            case steps.Interrupted():
                return await self._settle(step.why)
            case steps.Over():
                return step

    async def _settle(self, why: Interrupt) -> steps.Step:
        """Carry out an interruption."""
        generated = self._record.owned
        match why:
            case Interrupt.LOST if not self._record.given_up:
                self._interruption.clear()
                return self._follow_new_owner()
            case Interrupt.KEEP if self._record.owned and self.journal.text.strip():
                return steps.Commit(Finish("stopped"), kept=True)
            case Interrupt.DISCARD | Interrupt.KEEP:
                await self._record.end("stopped")
                return steps.Over("stopped" if generated else "elsewhere", stopped_event(None))
            case Interrupt.HAND_OVER:
                await self._record.hand_over(continues=bool(self.askers))
                generated = generated and not self.askers
            case Interrupt.DROP:
                await self._record.end("dropped")
        return steps.Over("dropped" if generated else "elsewhere")

    # --- claim and generate -------------------------------------------------------------------------------

    def _follow_new_owner(self) -> steps.Step:
        self._set_owned(False)
        self._context.sharing.share(self.journal, followed=False)
        return steps.Follow(self.journal.run_id, self.journal.epoch)

    async def _claim(self, step: steps.Claim) -> steps.Step:
        # The provisional id of the journal names the first run that is claimed, so that readers need no reset.
        run_id = uuid7() if self._named else self.journal.run_id
        async with self._queue.locked(tries_anyway=True):
            if not self._queue.is_first(self):
                return steps.WaitForTurn()
            self._queue.hint.clear()
            outcome = await self._claiming.claim(self.key, run_id, self._demand, step)
            return outcome if isinstance(outcome, steps.Step) else self._claimed(outcome, step)

    def _claimed(self, outcome: ClaimOutcome, step: steps.Claim) -> steps.Step:
        if isinstance(outcome, Waiting):
            return steps.Pause(then=step.back)
        self._named = True
        known = self.journal.run_id, self.journal.epoch
        if isinstance(outcome, Claimed | Elsewhere) and (outcome.run_id, outcome.epoch) != known:
            self.journal.reset(outcome.run_id, outcome.epoch)
        self._set_owned(isinstance(outcome, Claimed))
        match outcome:
            case Claimed():
                self._demand.add_askers(outcome.askers)
                return steps.Generate(outcome)
            case Elsewhere():
                return steps.Follow(outcome.run_id, outcome.epoch)
            case Stored():
                return steps.ShowStored(outcome)
            case Ended():
                return steps.Over("elsewhere", end_without_answer(outcome))

    def _set_owned(self, owned: bool) -> None:
        self._record.owned = owned
        if owned:
            self._connection_closed.clear()
        else:
            self._connection_closed.set()
        self._demand.set_has_grace(owned)

    async def _generate(self, claimed: Claimed) -> steps.Step:
        self._record.generates(claimed.prompt.model or claimed.provider.model)
        context = self._context
        max_chars, metrics = context.max_answer_chars, context.metrics
        sink = AnswerSink(self.journal, self._demand, self._interruption, max_chars=max_chars, metrics=metrics)
        try:
            # No variable holds the prompt: it may be long, and is needed only until the answer begins.
            prompt = whole_prompt(context.store, self.key, claimed)
            return steps.Commit(await sink.fill(claimed.provider, await prompt))
        except ProviderError as error:
            if not hung_up_in_pause(error, self._demand) or self._restarts == RESTARTS:
                return steps.Fail(error.code, error.message)
        await self._demand.wait()
        return steps.BeginAnew(claimed)

    async def _begin_anew(self, step: steps.BeginAnew) -> steps.Step:
        """Begin a new epoch: a hang-up in a pause is our doing, and no error."""
        self._restarts += 1
        restarted = await self._record.begin_anew()
        if isinstance(restarted, Lost):
            return self._follow_new_owner()
        self.journal.reset(self.journal.run_id, restarted.epoch)
        self._context.sharing.share(self.journal, self._demand.followed)
        return steps.Generate(step.claimed)

    async def _commit(self, step: steps.Commit) -> steps.Step:
        """Store the answer; only then is its end sent."""
        finish = step.finish
        try:
            with self._interruption.disabled():
                committed = await self._record.commit(finish, kept=step.kept)
        except DatabaseUnavailableError:
            if self._record.given_up:  # its readers come back to another process, which takes it over
                return steps.Over("dropped")
            return steps.Over("error", error_event("unavailable", "The answer could not be stored"))
        if isinstance(committed, Lost):
            return await self._settle(Interrupt.LOST)
        if step.kept:
            return steps.Over("stopped", stopped_event(committed))
        return steps.Over("done", done_event(committed, finish.usage, finish.stop_reason))
