"""Seeing an answer: join the one that is being made, replay the one that is stored, or have one made; and stop it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from chatserver.errors import NotFoundError, UnavailableError
from chatserver.live.ends import read_end, read_stored
from chatserver.live.reader import Reader
from chatserver.live.registry import Registry
from chatserver.live.run import LOOK_SECONDS, Interrupt, Queued, Run
from chatserver.live.store import Busy, Elsewhere, Ended, RunStore, Stored
from chatserver.schemas import StreamMessage
from chatserver.services.access import Actor
from chatserver.services.claims import Claims, Opened, OpenRequest
from chatserver.services.idempotent_send import IdempotencyKey
from chatserver.sse import EventId
from chatserver.storage import conversations, runs
from chatserver.storage.postgres.database import Database

# How long a stop waits for an owner elsewhere; by then it has noticed, or its lease is over.
STOP_SECONDS = 20.0

WhenBusy = Literal["reject", "interrupt", "enqueue"]


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a client asks of a stream.

    `resume` is the event id that it has, None for none; `reset` tells that it has one, but none of ours.
    `continues`: the answer is generated to its end even if all leave.
    """

    trigger_id: UUID | None = None
    resume: EventId | None = None
    reset: bool = False
    when_busy: WhenBusy = "reject"
    continues: bool = False


@dataclass(frozen=True, slots=True)
class _Begun:
    """How to join a run: with which options, and what other processes have to be told."""

    options: StreamOptions
    tells_continues: bool = False
    interrupts_elsewhere: bool = False


class AnswerService:
    """The use cases of streaming."""

    def __init__(self, database: Database, claims: Claims, store: RunStore, registry: Registry) -> None:
        self._database = database
        self._claims = claims
        self._store = store
        self._registry = registry

    async def open_stream(self, actor: Actor, conversation_id: UUID, options: StreamOptions) -> Reader:
        """A reader of the answer to a trigger, which is begun if nobody has.

        It must be closed. Raises what can be refused: NotFoundError, ValidationError, ConflictError,
        UnavailableError.
        """
        reader, _ = await self._open(actor, conversation_id, options)
        return reader

    async def post_and_stream(
        self,
        actor: Actor,
        conversation_id: UUID,
        message: StreamMessage,
        idempotency_key: IdempotencyKey | None,
        options: StreamOptions,
    ) -> tuple[Reader, UUID]:
        """Add a user message and read its answer; the reader, and the message's id.

        A message that was sent under the same key before is not added again. Nothing is stored when it is refused:
        as `open_stream` does, and with UnprocessableError when the key was used for another body.
        """
        reader, trigger_id = await self._open(actor, conversation_id, options, message, idempotency_key)
        assert trigger_id is not None
        return reader, trigger_id

    async def _open(
        self,
        actor: Actor,
        conversation_id: UUID,
        options: StreamOptions,
        message: StreamMessage | None = None,
        idempotency_key: IdempotencyKey | None = None,
    ) -> tuple[Reader, UUID | None]:
        """The reader, and the trigger of its answer."""
        while True:
            run = None if message is not None else self._find(actor, conversation_id, options)
            begun = _Begun(options)
            if run is None:
                async with self._registry.exclusively(conversation_id):
                    # Somebody may have begun it while this one waited.
                    run = None if message is not None else self._find(actor, conversation_id, options)
                    if run is None:
                        with self._registry.place() as room:
                            request = self._request(
                                actor, conversation_id, options, message, idempotency_key, full=not room
                            )
                            opened = await self._database.transaction(self._claims.open, request)
                            if isinstance(opened.outcome, Stored | Ended):
                                return _read(opened, options), opened.key.trigger_id
                            run, begun = self._begin(opened, options)
            if run.joinable:
                return await self._join(run, begun), run.key.trigger_id
            # It is being stopped or dropped; then the database knows more.
            await run.wait_settled()

    def _begin(self, opened: Opened, options: StreamOptions) -> tuple[Run, _Begun]:
        """The run of an answer that is not stored: one that is here already, or a new one."""
        outcome = opened.outcome
        assert not isinstance(outcome, Stored | Ended)
        if opened.reset:
            options = replace(options, resume=None, reset=True)
        line = self._registry.line(opened.key.conversation_id)
        run = next((run for run in line if run.key == opened.key), None)
        if run is not None:
            return run, _Begun(options)
        if not isinstance(outcome, Busy):
            run = self._registry.add(opened.key, outcome, continues=options.continues)
            # Of a run that is claimed here the database knows already whether it continues.
            return run, _Begun(options, tells_continues=options.continues and isinstance(outcome, Elsewhere))
        interrupts = options.when_busy == "interrupt"
        unread = [other for other in line if not other.wanted]
        run = self._registry.add(
            opened.key, Queued(), continues=options.continues, next_in_line=interrupts or bool(unread)
        )
        for other in unread:
            other.interrupt(Interrupt.DROP)
        if interrupts:
            # Those that interrupted before and still wait are interrupted, too; who waits in the queue keeps its place.
            for other in line:
                if other.interrupts and not other.owned:
                    other.interrupt(Interrupt.DISCARD)
            run.interrupts = True
        active = next((other for other in line if other.owned), None)
        if interrupts and active is not None and active not in unread:
            active.interrupt(Interrupt.DISCARD)
        return run, _Begun(options, interrupts_elsewhere=interrupts and active is None)

    async def _join(self, run: Run, begun: _Begun) -> Reader:
        """A reader of the run; what others have to know for it is told them by then."""
        options = begun.options
        tells_continues = begun.tells_continues or (options.continues and not run.continues)
        reader = run.join(options.resume, reset=options.reset, continues=options.continues)
        try:
            if begun.interrupts_elsewhere:
                await self._database.autocommit(
                    runs.request_stop, run.key.conversation_id, keep=False, spared=run.journal.run_id
                )
            if tells_continues:
                await self._store.set_continues(run.journal.run_id)
        except BaseException:
            reader.close()
            raise
        return reader

    def _request(
        self,
        actor: Actor,
        conversation_id: UUID,
        options: StreamOptions,
        message: StreamMessage | None,
        idempotency_key: IdempotencyKey | None,
        *,
        full: bool,
    ) -> OpenRequest:
        line = self._registry.line(conversation_id)
        return OpenRequest(
            companies=actor.scope,
            conversation_id=conversation_id,
            trigger_id=options.trigger_id,
            resume=options.resume,
            message=message,
            idempotency_key=idempotency_key,
            continues=options.continues,
            # An answer that nobody reads is not busy.
            refuse_busy=options.when_busy == "reject" and (not line or any(run.wanted for run in line)),
            wait=bool(line),
            full=full,
        )

    def _find(self, actor: Actor, conversation_id: UUID, options: StreamOptions) -> Run | None:
        """The run that the client means, if it is here: then the database need not be asked."""
        if options.resume is None and options.trigger_id is None:
            return None
        for run in self._registry.line(conversation_id):
            if options.resume is not None and options.resume.run_id == run.journal.run_id:
                found = True
            else:
                found = options.resume is None and run.key.trigger_id == options.trigger_id
            if found and (actor.companies is None or run.key.company_id in actor.companies):
                return run
        return None

    async def stop(self, actor: Actor, conversation_id: UUID, *, keep: bool) -> bool:
        """Stop the answer that is being generated; whether there was one.

        By then the model's connection is closed, and the kept part, if any, is stored. Raises NotFoundError.
        """
        if await self._database.autocommit(conversations.find, actor.scope, conversation_id) is None:
            raise NotFoundError("Conversation not found")
        return await self._stop(conversation_id, keep=keep)

    async def _stop(self, conversation_id: UUID, *, keep: bool) -> bool:
        async with self._registry.exclusively(conversation_id):
            here = next((run for run in self._registry.line(conversation_id) if run.owned), None)
        if here is not None and (await here.stop(keep=keep) or not here.joinable):
            return here.outcome == "stopped"
        # It is made elsewhere, or by now it is.
        run_id = await self._database.autocommit(runs.request_stop, conversation_id, keep=keep)
        if run_id is None:
            return False
        clock = asyncio.get_running_loop().time
        deadline = clock() + STOP_SECONDS
        while clock() < deadline:
            row = await self._database.autocommit(runs.find_run, run_id)
            if row is None or row.status != "active":
                return row is None or row.status in ("stopped", "kept")
            if not row.leased:
                await self._database.autocommit(runs.request_stop, conversation_id, keep=keep)
                return True
            await asyncio.sleep(LOOK_SECONDS)
        raise UnavailableError("The process that generates the answer does not react")

    async def stop_for_delete(self, conversation_id: UUID) -> None:
        """Stop what is being generated in a conversation that was deleted."""
        await self._stop(conversation_id, keep=False)

    async def drop_unread(self, conversation_id: UUID) -> None:
        """End the answer that is being generated if nobody reads it."""
        for run in self._registry.line(conversation_id):
            await run.drop()


def _read(opened: Opened, options: StreamOptions) -> Reader:
    """A reader of an answer, or of a run, that has come to its end."""
    if isinstance(opened.outcome, Stored):
        return read_stored(opened.outcome, options.resume, reset=options.reset or opened.reset)
    assert isinstance(opened.outcome, Ended)
    assert options.resume is not None
    return read_end(opened.outcome, options.resume)
