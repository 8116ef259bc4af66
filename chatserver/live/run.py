"""One answer in the making: who wants it, where it comes from, how it ends.

A run is a loop over steps, each of which says what the next one is: wait for its turn, claim, follow the process that
makes the answer, or generate it here. A step can be interrupted (its readers left, somebody stopped it, another
process took it over); claim and commit cannot, so that what the database says is always known.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from chatserver.errors import (
    DatabaseUnavailableError,
    ErrorCode,
    NotFoundError,
    ProviderError,
    UnavailableError,
    ValidationError,
)
from chatserver.ids import uuid7
from chatserver.live import ends
from chatserver.live.demand import Demand
from chatserver.live.generation import generate
from chatserver.live.journal import Journal
from chatserver.live.persistence import COMMIT_SECONDS, persist
from chatserver.live.reader import Reader
from chatserver.live.store import Busy, Claimed, Elsewhere, Ended, Renewal, RunKey, RunStore, Stored
from chatserver.metrics import Metrics
from chatserver.providers.base import Finish
from chatserver.sse import FIRST_EPOCH, EventId

logger = logging.getLogger(__name__)

# How often the row of a run that is made elsewhere is looked at, and a conversation that is busy elsewhere.
LOOK_SECONDS = 0.5
# What a model that hung up looks like.
HANG_UPS: frozenset[ErrorCode] = frozenset({"interrupted", "unavailable", "timeout"})
# How often an answer is begun anew because the model hung up while nobody was reading.
RESTARTS = 5
INTERNAL = "The answer failed"


# `elsewhere`: the answer was made, and counted, by another process.
Outcome = Literal["done", "stopped", "error", "dropped", "elsewhere"]


class Interrupt(enum.Enum):
    """Why a step was interrupted."""

    DROP = "its readers left"
    DISCARD = "stopped"
    KEEP = "stopped, and what was shown is kept"
    HAND_OVER = "this process ends"
    LOST = "another process made it its own"


@dataclass(frozen=True, slots=True)
class Finished:
    """The model came to its end, as `finish` says."""

    finish: Finish


@dataclass(frozen=True, slots=True)
class HungUp:
    """The model hung up while nobody was reading; now somebody is."""


@dataclass(frozen=True, slots=True)
class Queued:
    """Another answer of the conversation comes first."""


Step = Queued | Claimed | Elsewhere | Stored | Ended
StepResult = Step | Finished | HungUp | ProviderError | Interrupt


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run needs of the place where it lives."""

    store: RunStore
    metrics: Metrics
    resume_grace_seconds: float
    max_answer_chars: int
    turn: Callable[[Run], Awaitable[None]]
    """Returns when the run is the first of its conversation."""
    is_first: Callable[[Run], bool]
    exclusively: Callable[[UUID], AbstractAsyncContextManager[Any]]
    """Claims of one conversation are made one after the other."""
    settled: Callable[[Run], None]
    """The run has ended."""


class Run:
    """The answer to `key`, as long as somebody here cares for it.

    It begins with `first_step`; `start` sets it going. Of a run that is queued or made elsewhere `journal` changes
    its id when another run takes its place.
    """

    def __init__(
        self, key: RunKey, first_step: Queued | Claimed | Elsewhere, surroundings: Surroundings, *, continues: bool
    ) -> None:
        self.key = key
        self.outcome: Outcome | None = None
        self.interrupts = False
        """Whether it was begun to take the place of another answer."""
        self._surroundings = surroundings
        self._store = surroundings.store
        if isinstance(first_step, Queued):
            self.journal = Journal(uuid7(), FIRST_EPOCH)
        else:
            self.journal = Journal(first_step.run_id, first_step.epoch)
        self._step: Step = first_step
        self._owned = isinstance(first_step, Claimed)
        self._claims_done = 0 if isinstance(first_step, Queued) else 1
        self._demand = Demand(
            surroundings.resume_grace_seconds,
            lambda: self.interrupt(Interrupt.DROP),
            continues=continues or (isinstance(first_step, Claimed) and first_step.continues),
            keeps=self._owned,
        )
        self._restarts = 0
        self._committing = False
        self._interrupt: Interrupt | None = None
        self._handing_over = False
        self._work: asyncio.Task[Any] | None = None
        self._settled = asyncio.Event()
        self._let_go = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away_since: float | None = None

    def start(self) -> None:
        """Set it going."""
        self._task = asyncio.get_running_loop().create_task(self._main())

    # --- who wants it -------------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether the next delta is to be taken from the model."""
        return bool(self._demand)

    @property
    def continues(self) -> bool:
        """Whether it goes on without readers."""
        return self._demand.continues

    @property
    def joinable(self) -> bool:
        """Whether a reader who joins now will see its end; otherwise wait until it is settled, and look again."""
        return self._interrupt in (None, Interrupt.LOST) and not self._settled.is_set()

    @property
    def owned(self) -> bool:
        """Whether this process makes the answer, and so renews its lease."""
        return self._owned and self._interrupt is not Interrupt.LOST

    def join(self, resume: EventId | None = None, *, reset: bool = False, continues: bool = False) -> Reader:
        """A new reader, who has all up to and with the event `resume`, or nothing.

        It must be closed. Only for a run that is `joinable`.
        """
        self._demand.add_reader(continues=continues)
        return Reader.join(self.journal, resume, reset=reset, on_close=self._demand.remove_reader)

    def renewed(self, renewal: Renewal | None) -> None:
        """What the database says of the lease; None: the run is no longer ours."""
        if renewal is None:
            self.interrupt(Interrupt.LOST)
            return
        if renewal.continues:
            self._demand.set_continues()
        self._demand.set_followed(renewal.followed)
        if renewal.stop is not None:
            self.interrupt(Interrupt.KEEP if renewal.stop == "keep" else Interrupt.DISCARD)

    # --- ends from outside --------------------------------------------------------------------------------

    async def stop(self, *, keep: bool) -> bool:
        """End it for all readers; when this returns the model's connection is closed.

        Whether it was stopped: False when it had come to its end by then, or is another process's now.
        """
        self.interrupt(Interrupt.KEEP if keep else Interrupt.DISCARD)
        await self._let_go.wait()
        return self.outcome == "stopped"

    async def drop(self) -> bool:
        """End a run that nobody reads, and say whether it did."""
        if self.wanted and self.joinable:
            return False
        self.interrupt(Interrupt.DROP)
        await self.wait_settled()
        return True

    async def hand_over(self) -> None:
        """This process ends: let others make the answer."""
        self._handing_over = True
        self.interrupt(Interrupt.HAND_OVER)
        await self.wait_settled()

    async def wait_settled(self) -> None:
        """Until it has ended here."""
        await self._settled.wait()

    def interrupt(self, interrupt: Interrupt) -> None:
        """Have it end, or go elsewhere, soon; without effect where its end is decided."""
        if self._committing or self._settled.is_set():
            return
        if self._interrupt is None or (self._interrupt is Interrupt.LOST and interrupt is Interrupt.HAND_OVER):
            self._interrupt = interrupt
            if self._work is not None:
                self._work.cancel()

    # --- the loop -----------------------------------------------------------------------------------------

    async def _main(self) -> None:
        try:
            while not await self._advance():
                pass
        except DatabaseUnavailableError as error:
            # Nothing can be written down; a lease ends by itself.
            self._end(ends.failed("unavailable", error.message), "error")
        except Exception:
            logger.exception("run %s", self.journal.run_id)
            await self._persist_end("failed", "internal", INTERNAL)
        finally:
            if self.outcome is None:
                self._end(ends.failed("internal", INTERNAL), "error")
            self._demand.close()
            self._owned = False
            self._let_go.set()
            self._settled.set()
            self._surroundings.settled(self)

    async def _advance(self) -> bool:
        """Take one step; whether it was the last."""
        step = self._step
        match step:
            case Stored():
                self._show_stored(step)
                return True
            case Ended(status="dropped"):
                return await self._claim()
            case Ended():
                self._end(ends.end_without_answer(step), "elsewhere")
                return True
            case Queued():
                result = await self._interruptibly(self._surroundings.turn(self))
                return await (self._claim() if result is None else self._settle(result))
            case Elsewhere():
                result = await self._interruptibly(self._follow(step))
            case Claimed():
                result = await self._interruptibly(self._generate(step))
        match result:
            case None:
                return await self._claim()
            case Finished():
                return await self._commit(kept=False, finish=result.finish)
            case HungUp():
                await self._begin_anew()
                return False
            case ProviderError():
                await self._fail(result.code, result.message)
                return True
            case Interrupt():
                return await self._settle(result)
            case _:
                self._step = result
                return False

    async def _interruptibly(self, work: Awaitable[Any]) -> Any:
        """The result of `work`, or why it was interrupted; by then it has ended."""
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        if self._interrupt is not None:
            task.cancel()
        self._work = task
        try:
            await asyncio.wait({task})
        finally:
            self._work = None
        if self._interrupt is not None:
            if not task.cancelled() and task.exception() is not None:
                logger.debug("interrupted run: %r", task.exception())
            return self._interrupt
        return task.result()

    async def _settle(self, interrupt: Interrupt) -> bool:
        """Carry out an interruption; whether the run is over here."""
        match interrupt:
            case Interrupt.LOST if not self._handing_over:
                self._interrupt = None
                self._follow_new_owner()
                return False
            case Interrupt.LOST:
                self.outcome = "dropped"
            case Interrupt.KEEP if self._owned and self.journal.text.strip():
                return await self._commit(kept=True, finish=Finish("stopped"))
            case Interrupt.DISCARD | Interrupt.KEEP:
                await self._persist_end("stopped")
                self._end(ends.stopped(None), "stopped")
            case Interrupt.HAND_OVER:
                await self._hand_over()
                self.outcome = "dropped"
            case Interrupt.DROP:
                await self._persist_end("dropped")
                self.outcome = "dropped"
        return True

    def _follow_new_owner(self) -> None:
        self._step = Elsewhere(self.journal.run_id, self.journal.epoch)
        self._set_owned(False)

    async def _hand_over(self) -> None:
        """Tried once: a process that ends does not wait for the database, and its leases end by themselves."""
        if not self._owned:
            return
        run_id, epoch = self.journal.run_id, self.journal.epoch
        with contextlib.suppress(DatabaseUnavailableError):
            if self.continues:
                await self._store.release([run_id])
            else:
                await self._store.end(run_id, epoch, "dropped")

    # --- steps --------------------------------------------------------------------------------------------

    async def _claim(self) -> bool:
        """Make the answer here, unless somebody else does or did; whether the run is over by that."""
        run_id = self.journal.run_id if self._claims_done == 0 else uuid7()
        async with self._surroundings.exclusively(self.key.conversation_id):
            if not self._surroundings.is_first(self):
                self._step = Queued()
                return False
            try:
                outcome = await self._store.claim(self.key, run_id, continues=self.continues)
            except (NotFoundError, ValidationError):
                # The conversation, the message or its text was deleted meanwhile: that is a way to stop it.
                self._end(ends.stopped(None), "stopped")
                return True
            except DatabaseUnavailableError:
                now = asyncio.get_running_loop().time()
                if self._away_since is None:
                    self._away_since = now
                elif now - self._away_since > COMMIT_SECONDS:
                    raise
                outcome = Busy()
            except UnavailableError as error:
                self._end(ends.failed("unavailable", error.message), "error")
                return True
            else:
                self._away_since = None
        if isinstance(outcome, Busy):
            result = await self._interruptibly(asyncio.sleep(LOOK_SECONDS))
            if isinstance(result, Interrupt):
                return await self._settle(result)
            return False
        self._claims_done += 1
        if isinstance(outcome, Claimed | Elsewhere) and (outcome.run_id, outcome.epoch) != (
            self.journal.run_id,
            self.journal.epoch,
        ):
            self.journal.reset(outcome.run_id, outcome.epoch)
        self._step = outcome
        if isinstance(outcome, Claimed) and outcome.continues:
            self._demand.set_continues()
        self._set_owned(isinstance(outcome, Claimed))
        return False

    def _set_owned(self, owned: bool) -> None:
        self._owned = owned
        if owned:
            self._let_go.clear()
        else:
            self._let_go.set()
        self._demand.set_keeps(owned)

    async def _follow(self, step: Elsewhere) -> Step | None:
        """What became of a run that another process makes; None: claim it."""
        while True:
            with contextlib.suppress(DatabaseUnavailableError):
                look = await self._store.look(step.run_id)
                if not isinstance(look, Elsewhere):
                    return look
                if look.epoch != self.journal.epoch:
                    self.journal.reset(look.run_id, look.epoch)
            await asyncio.sleep(LOOK_SECONDS)

    async def _generate(self, claimed: Claimed) -> Finished | HungUp | ProviderError:
        """Take the answer from the model, as long as it is wanted."""
        try:
            finish = await generate(
                claimed.provider,
                claimed.prompt,
                self.journal,
                self._demand,
                max_chars=self._surroundings.max_answer_chars,
                metrics=self._surroundings.metrics,
            )
            return Finished(finish)
        except ProviderError as error:
            hung_up = self._demand.paused and error.code in HANG_UPS
            if not hung_up or self._restarts == RESTARTS:
                return error
        await self._demand.wait()
        return HungUp()

    async def _begin_anew(self) -> None:
        """Have it generated once more, under a new epoch: that the model hung up in a pause is our doing, no error."""
        self._restarts += 1
        journal = self.journal
        epoch = await persist(lambda: self._store.next_epoch(journal.run_id, journal.epoch))
        if epoch is None:
            self._follow_new_owner()
        else:
            journal.reset(journal.run_id, epoch)

    # --- ends ---------------------------------------------------------------------------------------------

    async def _commit(self, *, kept: bool, finish: Finish) -> bool:
        """Store the answer, then say so; False when another process made the run its own."""
        self._committing = True
        journal, message_id, text = self.journal, uuid7(), self.journal.text
        try:
            ours = await persist(
                lambda: self._store.commit(
                    journal.run_id,
                    journal.epoch,
                    message_id,
                    text,
                    kept=kept,
                    usage=finish.usage,
                    stop_reason=finish.stop_reason,
                )
            )
        except DatabaseUnavailableError:
            self._end(ends.failed("unavailable", "The answer could not be stored"), "error")
            return True
        finally:
            self._committing = False
        if not ours:
            return await self._settle(Interrupt.LOST)
        if kept:
            self._end(ends.stopped(message_id), "stopped")
        else:
            self._end(ends.done(message_id, finish.usage, finish.stop_reason), "done")
        return True

    async def _fail(self, code: ErrorCode, message: str) -> None:
        await self._persist_end("failed", code, message)
        self._end(ends.failed(code, message), "error")

    async def _persist_end(
        self,
        status: Literal["stopped", "failed", "dropped"],
        code: ErrorCode | None = None,
        message: str | None = None,
    ) -> None:
        """Write down that the run ended without an answer.

        Should the database not come back in time, its lease ends by itself: whoever asks then makes it anew.
        """
        if not self._owned:
            return
        journal = self.journal
        try:
            await persist(lambda: self._store.end(journal.run_id, journal.epoch, status, code, message))
        except DatabaseUnavailableError:
            logger.warning("run %s: its end could not be stored", journal.run_id)

    def _show_stored(self, stored: Stored) -> None:
        """Another process stored the answer: show it whole, anew where something else was shown."""
        journal = self.journal
        if stored.edited or (stored.run_id, stored.epoch) != (journal.run_id, journal.epoch) or len(journal):
            journal.reset(stored.run_id, stored.epoch)
        journal.append_text(stored.text)
        self._end(ends.end_of(stored), "elsewhere")

    def _end(self, terminal: dict[str, Any], outcome: Outcome) -> None:
        self.journal.end(terminal)
        self.outcome = outcome
