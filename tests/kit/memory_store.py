"""A store of answers in memory that keeps what `live.store.AnswerStore` promises, for any number of processes at once.

Its time is a clock that is handed in. It refuses what PostgreSQL would refuse, can be away for all or for one process,
can lose the confirmation of an effect, and can be held in the middle of a visit. The conformance suite
`tests/storage/test_answer_store.py` runs against it and against PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from uuid import UUID

from chatserver.errors import (
    ConflictError,
    DatabaseUnavailableError,
    ErrorCode,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
    UnprocessableError,
    ValidationError,
)
from chatserver.ids import uuid7
from chatserver.live.absence import Absence
from chatserver.live.outcomes import (
    NOBODY,
    Askers,
    Busy,
    Claimed,
    ClaimOutcome,
    Committed,
    Elsewhere,
    Ended,
    EndStatus,
    Lost,
    Opened,
    Place,
    PlacesRenewed,
    Renewal,
    Restarted,
    RunKey,
    StopState,
    Stored,
    Waiting,
    YieldState,
)
from chatserver.live.sharing_store import SharedEvents
from chatserver.live.store import Companies, NewAnswer, NewMessage, OpenRequest
from chatserver.providers.base import Prompt, Provider, Turn
from tests.kit.memory_places import MemoryPlaces

T = TypeVar("T")

LEASE_SECONDS = 15.0
FOLLOWED_SECONDS = 3.0
# A run that shall go on without readers is given up if no process has taken it over by then.
ADOPTED_WITHIN_SECONDS = 60.0
GREATEST_INTEGER = 2**31 - 1

ANYBODY: Askers = frozenset((None,))
"""Somebody who needs no token asks that an answer goes on without readers."""

Status = Literal["active", "completed", "kept", "stopped", "failed", "dropped"]


@dataclass
class Message:
    """A message of a user, or of another role."""

    id: UUID
    conversation_id: UUID
    content: str
    role: str = "user"
    superseded: bool = False


@dataclass
class Answer:
    """A stored answer; `edited` is its edited content."""

    new: NewAnswer
    edited: str | None = None


@dataclass
class Row:
    """A run."""

    id: UUID
    key: RunKey
    owner: UUID
    lease_until: float
    askers: Askers
    epoch: int = 1
    status: Status = "active"
    followers: dict[UUID, float] = field(default_factory=dict)
    """The processes that have readers, and how long they count."""
    stop_requested: Literal["discard", "keep"] | None = None
    answer: Answer | None = None
    code: ErrorCode | None = None
    message: str | None = None
    asked_to_yield: bool = False

    def __post_init__(self) -> None:
        self.begun_by = self.owner


class InTheWayError(Exception):
    """An answer of another process comes first."""

    def __init__(self, key: RunKey, run_id: UUID) -> None:
        super().__init__()
        self.key = key
        self.run_id = run_id


@dataclass
class Blocked:
    """An answer comes first: `active` if that is being generated."""

    active: Row | None


class Hold:
    """Makes a visit wait before it has any effect. `entered` is set when it waits; `release` lets it go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self._released = asyncio.Event()

    def release(self) -> None:
        self._released.set()

    async def wait(self) -> None:
        self.entered.set()
        await self._released.wait()


@dataclass
class MemoryDatabase:
    """All processes share it. `conversations` maps ids to companies; `messages` are in the order of writing.

    `refusal` is raised by claims, as for a provider that is not configured. `prompt_model` is the one that the agent
    names. `revoked` are tokens that have lost access; all others have it. `frames` are by run and epoch, and by the
    number of the last event. `listening` is by the process that listens and the one that it listens to; `inboxes` is by
    process. While `hints_get_lost`, nobody hears anything.
    """

    clock: Callable[[], float]
    provider: Provider
    away: bool = False
    conversations: dict[UUID, UUID] = field(default_factory=dict)
    messages: dict[UUID, Message] = field(default_factory=dict)
    sent_keys: dict[tuple[UUID, str], NewMessage] = field(default_factory=dict)
    sent_ids: dict[tuple[UUID, str], UUID] = field(default_factory=dict)
    rows: dict[UUID, Row] = field(default_factory=dict)
    deleted: set[UUID] = field(default_factory=set)
    revoked: set[UUID] = field(default_factory=set)
    refusal: Exception | None = None
    prompt_model: str | None = None
    frames: dict[tuple[UUID, int], dict[int, SharedEvents]] = field(default_factory=dict)
    listening: dict[tuple[UUID, UUID], Callable[[str], None]] = field(default_factory=dict)
    inboxes: dict[UUID, Callable[[str], None]] = field(default_factory=dict)
    hints_get_lost: bool = False

    def notify(self, process: UUID, run_ids: Iterable[UUID]) -> None:
        """Tell those who listen to a process of these runs."""
        said = " ".join(run_id.hex for run_id in run_ids)
        for (_, to), heard in self.listening.items():
            if to == process and not self.hints_get_lost:
                asyncio.get_running_loop().call_soon(heard, said)

    def notify_inbox(self, process: UUID, said: str) -> None:
        """Tell a process itself."""
        heard = self.inboxes.get(process)
        if heard is not None and not self.hints_get_lost:
            asyncio.get_running_loop().call_soon(heard, said)

    def forget(self, process: UUID) -> None:
        """That process hears nothing any more."""
        self.inboxes.pop(process, None)
        self.listening = {pair: heard for pair, heard in self.listening.items() if pair[0] != process}

    def __post_init__(self) -> None:
        self.places = MemoryPlaces(self.clock, self.notify_inbox)

    def end(self, row: Row, status: Status) -> None:
        """End a run; whoever waits for its end is told."""
        row.status = status
        self.places.tell_next(row.key.conversation_id)

    def ask(self, key: RunKey, content: str = "?") -> None:
        """Add the trigger of an answer, and its conversation if that is new."""
        self.conversations.setdefault(key.conversation_id, key.company_id)
        if key.trigger_id is not None:
            self.messages[key.trigger_id] = Message(key.trigger_id, key.conversation_id, content)

    def require(self, companies: Companies, conversation_id: UUID) -> UUID:
        """The company of a conversation. Raises NotFoundError."""
        company_id = self.conversations.get(conversation_id)
        if company_id is None or conversation_id in self.deleted:
            raise NotFoundError("Conversation not found")
        if companies is not None and company_id not in companies:
            raise NotFoundError("Conversation not found")
        return company_id

    def current(self, key: RunKey) -> Row | None:
        """The run that generates the answer, or generated the one that is stored."""
        found = [row for row in self.rows.values() if row.key == key and row.status in ("active", "completed", "kept")]
        assert len(found) <= 1, "two current runs of one trigger"
        return found[0] if found else None

    def active(self, conversation_id: UUID) -> Row | None:
        found = [
            row for row in self.rows.values() if row.key.conversation_id == conversation_id and row.status == "active"
        ]
        assert len(found) <= 1, "two active runs in one conversation"
        return found[0] if found else None

    def answers(self) -> list[str]:
        """All stored texts."""
        return [row.answer.new.text for row in self.rows.values() if row.answer is not None]

    def statuses(self) -> list[Status]:
        """The statuses of all runs, in the order in which they were claimed."""
        return [row.status for row in self.rows.values()]


class MemoryStore:
    """`AnswerStore` for one process. `away`: for this process alone."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database
        self.owner = uuid7()
        self.absence = Absence(database.clock)
        self.away = False
        self.dead = False
        self._on_their_way: set[asyncio.Future[Any]] = set()
        # how long a visit takes, one way
        self.latency_seconds = 0.0
        self.visits: Counter[str] = Counter()
        # what each renewal named
        self.renewed: list[list[UUID]] = []
        # by method: how many confirmations will be lost, after the effect
        self.lose: Counter[str] = Counter()
        # by method: what every visit waits for
        self.holds: dict[str, Hold] = {}
        # by method: what the next visit raises; a defect, not an absence
        self.defects: dict[str, Exception] = {}

    def hold(self, method: str) -> Hold:
        self.holds[method] = hold = Hold()
        return hold

    async def settled(self) -> None:
        """Return when no visit is under way, not even one that nobody waits for."""
        while self._on_their_way:
            await asyncio.wait(self._on_their_way)

    def die(self) -> None:
        """End all visits that are under way: they have no effect any more, and no result."""
        self.dead = True
        for visit in self._on_their_way:
            visit.cancel()

    async def visit(self, method: str, effect: Callable[[], T]) -> T:
        """The result of `effect`. It takes place even if the caller stops waiting for it, as on a thread."""
        visit = asyncio.ensure_future(self._go_there_and_back(method, effect))
        self._on_their_way.add(visit)
        visit.add_done_callback(self._is_back)
        return await asyncio.shield(visit)

    def _is_back(self, visit: asyncio.Future[Any]) -> None:
        self._on_their_way.discard(visit)
        if not visit.cancelled():
            visit.exception()  # else it would be reported as unseen where nobody waits for it any more

    async def _go_there_and_back(self, method: str, effect: Callable[[], T]) -> T:
        self.visits[method] += 1
        await asyncio.sleep(self.latency_seconds)
        if method in self.holds:
            await self.holds[method].wait()
        if self.away or self.database.away:
            raise DatabaseUnavailableError
        if method in self.defects:
            raise self.defects.pop(method)
        result = effect()
        await asyncio.sleep(self.latency_seconds)
        if self.lose[method] > 0:
            self.lose[method] -= 1
            raise DatabaseUnavailableError
        return result

    def _leased(self, row: Row) -> bool:
        return row.lease_until > self.database.clock()

    def held(self, row: Row) -> bool:
        """Whether its owner generates it, or may come back to it after an absence of the database."""
        return self._leased(row) or self.absence.recent

    def _lease(self) -> float:
        return self.database.clock() + LEASE_SECONDS

    def _own(self, run_id: UUID, epoch: int) -> Row | None:
        row = self.database.rows.get(run_id)
        if row is None or (row.owner, row.epoch, row.status) != (self.owner, epoch, "active"):
            return None
        return row

    # --- open and claim -----------------------------------------------------------------------------------

    async def open(self, request: OpenRequest) -> Opened:
        return await self.visit("open", lambda: self._ask_if_in_the_way(request))

    def _ask_if_in_the_way(self, request: OpenRequest) -> Opened:
        try:
            return self._all_or_nothing(lambda: self._open(request))
        except InTheWayError as error:
            self._ask_to_yield(self.database.rows[error.run_id])
            return Opened(error.key, Busy(error.run_id), reset=False)

    def _all_or_nothing(self, effect: Callable[[], T]) -> T:
        """Take messages back that were added by an effect that raises."""
        database = self.database
        before = dict(database.messages), dict(database.sent_keys), dict(database.sent_ids)
        try:
            return effect()
        except Exception:
            database.messages, database.sent_keys, database.sent_ids = before
            raise

    def _open(self, request: OpenRequest) -> Opened:
        database, resume = self.database, request.resume
        trigger_id = request.trigger_id
        known = None if resume is None else database.rows.get(resume.run_id)
        if known is not None and known.key.conversation_id != request.conversation_id:
            known = None
        if known is not None:
            trigger_id = known.key.trigger_id
        company_id = database.require(request.companies, request.conversation_id)
        if request.message is not None:
            trigger_id = self._send(request.conversation_id, request.message)
        if trigger_id is None and known is None:
            asked = [each for each in self._live(request.conversation_id) if each.role == "user"]
            trigger_id = asked[-1].id if asked else None
        key = RunKey(company_id, request.conversation_id, trigger_id)
        if known is not None and known.answer is not None:
            return Opened(key, stored(known), reset=False)
        if known is not None and known.status in ("stopped", "failed"):
            return Opened(key, ended(known), reset=False)
        outcome = self._claim_for(key, request)
        run_id = outcome.run_id if isinstance(outcome, Claimed | Elsewhere | Stored) else None
        return Opened(key, outcome, reset=resume is not None and resume.run_id != run_id)

    def _live(self, conversation_id: UUID) -> list[Message]:
        return [
            message
            for message in self.database.messages.values()
            if message.conversation_id == conversation_id and not message.superseded
        ]

    def _send(self, conversation_id: UUID, message: NewMessage) -> UUID:
        database = self.database
        refuse_what_postgresql_refuses(message.content)
        if message.idempotency_key is not None:
            sent = (conversation_id, message.idempotency_key)
            if sent in database.sent_keys:
                before = database.sent_keys[sent]
                if (before.content, before.agent_id) != (message.content, message.agent_id):
                    raise UnprocessableError("The Idempotency-Key was used for another body")
                return database.sent_ids[sent]
            database.sent_keys[sent] = message
        message_id = uuid7()
        database.messages[message_id] = Message(message_id, conversation_id, message.content)
        if message.idempotency_key is not None:
            database.sent_ids[conversation_id, message.idempotency_key] = message_id
        return message_id

    def _claim_for(self, key: RunKey, request: OpenRequest) -> ClaimOutcome | Busy:
        begins, is_here, places = request.begins(key.company_id), key.trigger_id in request.here, self.database.places
        while True:
            outcome = self._claim(
                key,
                uuid7(),
                request.askers if begins else NOBODY,
                may_begin=begins or is_here,
                may_wait=True,
                comes_later=self._comes_later,
                must_queue=bool(request.here),
                at_capacity=request.at_capacity and not is_here,
            )
            if isinstance(outcome, Ended):  # this client has not waited for that one
                continue
            if not isinstance(outcome, Blocked):
                return outcome
            if is_here:
                return Busy()
            elsewhere = outcome.active if outcome.active is not None and outcome.active.owner != self.owner else None
            interrupts = False
            if places.same(key) is None:
                interrupts = request.when_busy == "interrupt"
                if request.when_busy == "reject":
                    self._refuse_busy(key, request, elsewhere)
                elif interrupts:
                    places.stop_interrupting(key, self.owner)
                    if elsewhere is not None:
                        self._request_stop(key.conversation_id, elsewhere.id, keep=False)
                        if elsewhere.status != "active":
                            continue
                elif elsewhere is not None:
                    self._ask_to_yield(elsewhere)
            place = places.put(uuid7(), key, self.owner, in_front=interrupts, interrupts=interrupts)
            return Waiting(place)

    def _refuse_busy(self, key: RunKey, request: OpenRequest, elsewhere: Row | None) -> None:
        if not request.wanted_here and not request.asked and self.database.places.others(key, self.owner) is None:
            if elsewhere is None and request.here:
                return
            if elsewhere is not None and self.held(elsewhere):
                raise InTheWayError(key, elsewhere.id)
        raise ConflictError("Another answer is being generated in this conversation")

    def _ask_to_yield(self, row: Row) -> None:
        row.asked_to_yield = True
        self.database.places.tell(row.owner, f"run {row.id}")

    def _comes_later(self, key: RunKey, place: Place | None = None) -> bool:
        same, others = self.database.places.same(key), self.database.places.others(key, self.owner)
        own = [number for number in (same, None if place is None else place.number) if number is not None]
        return others is not None and (not own or others < min(own))

    async def claim(
        self,
        key: RunKey,
        run_id: UUID,
        *,
        askers: Askers = NOBODY,
        may_begin: bool = True,
        place: Place | None = None,
    ) -> ClaimOutcome:
        def claim() -> ClaimOutcome:
            places = self.database.places
            outcome = self._claim(
                key,
                run_id,
                askers,
                may_begin=may_begin,
                may_wait=place is not None,
                comes_later=lambda key: place is not None and self._comes_later(key, place),
            )
            if isinstance(outcome, Blocked):
                if place is None:
                    return Waiting(places.put(run_id, key, self.owner, in_front=True))
                places.hold(place, key, self.owner)
                return Waiting(place)
            if place is not None:
                places.entries.pop(place.id, None)
            return outcome

        return await self.visit("claim", claim)

    def _claim(
        self,
        key: RunKey,
        run_id: UUID,
        askers: Askers,
        *,
        may_begin: bool,
        may_wait: bool,
        comes_later: Callable[[RunKey], bool],
        must_queue: bool = False,
        at_capacity: bool = False,
    ) -> Claimed | Elsewhere | Stored | Ended | Blocked:
        database = self.database
        row = database.current(key)
        if row is not None and row.status != "active":
            return stored(row)
        if row is None and not may_begin:
            self._require_trigger(key)
            if not may_wait or database.places.same(key, but=self.owner) is None:
                raise ForbiddenError("Only what others began")
        if at_capacity:
            raise UnavailableError("Too many answers are being generated")
        if row is not None:
            ours = row.owner == self.owner
            # A leased run is claimable only if we own it but never saw the claim confirmed.
            if (self.held(row) or (ours and must_queue)) and (not ours or must_queue):
                return Elsewhere(row.id, row.epoch)
            if row.stop_requested is not None and not self._leased(row):
                database.end(row, "stopped")
                return Ended(row.id, row.epoch, "stopped")
        self._check_question(key)
        if row is not None:
            row.owner, row.epoch, row.lease_until = self.owner, row.epoch + 1, self._lease()
            row.askers |= askers
            return self._claimed(row)
        active = database.active(key.conversation_id)
        if must_queue or not may_begin or comes_later(key):
            return Blocked(active)
        if active is not None:
            awaited = (
                self._has_asker(active)
                and active.stop_requested is None
                and active.lease_until > database.clock() - ADOPTED_WITHIN_SECONDS
            )
            if self.held(active) or awaited:
                return Blocked(active)
            database.end(active, "dropped")
        assert run_id not in database.rows, "the id of a run is used twice"
        database.rows[run_id] = row = Row(run_id, key, self.owner, self._lease(), askers)
        database.places.tell_others_begun(key, self.owner)
        return self._claimed(row)

    def _has_asker(self, row: Row) -> bool:
        """Whether it goes on without readers on behalf of somebody who still has access."""
        return bool(row.askers - self.database.revoked)

    def _require_trigger(self, key: RunKey) -> str:
        """The text of the trigger."""
        database = self.database
        database.require(None, key.conversation_id)
        if key.trigger_id is None:
            return ""
        message = database.messages.get(key.trigger_id)
        if message is None or message.superseded or message.conversation_id != key.conversation_id:
            raise NotFoundError("Message not found")
        if message.role != "user":
            raise ValidationError
        return message.content

    def _check_question(self, key: RunKey) -> None:
        database, content = self.database, self._require_trigger(key)
        if database.provider.needs_user_turn and not content.strip():
            raise ValidationError
        if database.refusal is not None:
            raise database.refusal

    def _claimed(self, row: Row) -> Claimed:
        trigger = None if row.key.trigger_id is None else self.database.messages[row.key.trigger_id]
        turns = () if trigger is None else (Turn("user", trigger.content),)
        provider = self.database.provider
        room = 0
        if trigger is not None and provider.needs_user_turn:
            room = max(0, provider.max_prompt_chars - len(trigger.content))
        prompt = Prompt(turns, model=self.database.prompt_model)
        return Claimed(row.id, row.epoch, provider, prompt, row.askers, history_chars=room)

    async def history(self, key: RunKey, max_chars: int) -> tuple[Turn, ...]:
        return await self.visit("history", lambda: self._history(key, max_chars))

    def _history(self, key: RunKey, max_chars: int) -> tuple[Turn, ...]:
        before: list[Turn] = []
        for message in self._live(key.conversation_id):
            if message.id == key.trigger_id:
                break
            before.append(Turn(message.role, message.content))  # type: ignore[arg-type]
            answered = self.database.current(RunKey(key.company_id, key.conversation_id, message.id))
            if answered is not None and answered.answer is not None:
                before.append(Turn("assistant", effective(answered.answer)))
        fitting: list[Turn] = []
        for turn in reversed(before):
            max_chars -= len(turn.content)
            if max_chars < 0:
                break
            fitting.insert(0, turn)
        return tuple(turn for turn in fitting if turn.content.strip())

    # --- hold ---------------------------------------------------------------------------------------------

    async def renew(self, run_ids: Collection[UUID]) -> Mapping[UUID, Renewal]:
        asked = tuple(run_ids)
        self.renewed.append(list(asked))

        def renew() -> Mapping[UUID, Renewal]:
            renewals = {}
            for row in map(self.database.rows.get, asked):
                if row is not None and row.owner == self.owner and row.status == "active":
                    row.lease_until = self._lease()
                    others = (until for process, until in row.followers.items() if process != row.owner)
                    followed = any(until > self.database.clock() for until in others)
                    renewals[row.id] = Renewal(row.stop_requested, followed, row.askers, row.asked_to_yield)
            return renewals

        with self.absence.watched():
            return await self.visit("renew", renew)

    async def ask_to_yield(self, conversation_id: UUID) -> UUID | None:
        def ask() -> UUID | None:
            row = self.database.active(conversation_id)
            if row is None or row.owner == self.owner or not self._leased(row):
                return None
            self._ask_to_yield(row)
            return row.id

        return await self.visit("ask_to_yield", ask)

    async def decline(self, run_ids: Collection[UUID]) -> None:
        asked = tuple(run_ids)

        def decline() -> None:
            for row in map(self.database.rows.get, asked):
                if row is not None and row.owner == self.owner and row.status == "active":
                    row.asked_to_yield = False

        await self.visit("decline", decline)

    async def yield_state(self, run_id: UUID) -> YieldState:
        def yield_state() -> YieldState:
            row = self.database.rows.get(run_id)
            if row is None or row.status != "active":
                return YieldState.GONE
            return YieldState.PENDING if row.asked_to_yield else YieldState.STAYS

        return await self.visit("yield_state", yield_state)

    async def renew_places(self, run_keys: Mapping[Place, RunKey], lost: Collection[Place]) -> PlacesRenewed:
        def renew() -> PlacesRenewed:
            places = self.database.places
            for place in run_keys:
                if place in lost or place.id in places.entries:
                    places.hold(place, run_keys[place], self.owner)
            return PlacesRenewed(
                missing=[place for place in run_keys if place.id not in places.entries],
                stopped=[
                    place for place in run_keys if place.id in places.entries and places.entries[place.id].stopped
                ],
            )

        return await self.visit("renew_places", renew)

    async def leave(self, place: Place) -> None:
        await self.visit("leave", lambda: self.database.places.leave(place.id))

    async def next_epoch(self, run_id: UUID, epoch: int) -> Restarted | Lost:
        def begin_anew() -> Restarted | Lost:
            row = self._own(run_id, epoch) or self._own(run_id, epoch + 1)
            if row is None:
                return Lost()
            row.epoch = epoch + 1
            return Restarted(row.epoch)

        return await self.visit("next_epoch", begin_anew)

    async def commit(self, run_id: UUID, epoch: int, answer: NewAnswer) -> Committed | Lost:
        return await self.visit("commit", lambda: self._commit(run_id, epoch, answer))

    def _commit(self, run_id: UUID, epoch: int, answer: NewAnswer) -> Committed | Lost:
        refuse_what_postgresql_refuses(answer.text, answer.stop_reason, answer.model, answer.reasoning)
        counts = [] if answer.usage is None else [answer.usage.input_tokens, answer.usage.output_tokens]
        for count in (*counts, answer.duration_ms or 0):
            if not -GREATEST_INTEGER <= count <= GREATEST_INTEGER:
                raise OverflowError("integer out of range")
        row = self.database.rows.get(run_id)
        if row is not None and row.answer is not None and row.answer.new.message_id == answer.message_id:
            return Committed()
        row = self._own(run_id, epoch)
        if row is None:
            return Lost()
        if row.key.conversation_id in self.database.deleted:
            self.database.end(row, "stopped")
            return Lost()
        row.answer = Answer(answer)
        self.database.end(row, "kept" if answer.kept else "completed")
        return Committed()

    async def end(
        self,
        run_id: UUID,
        epoch: int,
        status: EndStatus,
        code: ErrorCode | None = None,
        message: str | None = None,
    ) -> None:
        def end() -> None:
            refuse_what_postgresql_refuses(code, message)
            row = self._own(run_id, epoch)
            if row is not None:
                row.code, row.message = code, message
                self.database.end(row, status)

        await self.visit("end", end)

    async def release(self, run_id: UUID) -> None:
        def release() -> None:
            row = self.database.rows.get(run_id)
            if row is not None and row.owner == self.owner and row.status == "active":
                row.lease_until = self.database.clock()

        await self.visit("release", release)

    async def set_continues(self, run_id: UUID, askers: Askers) -> None:
        def set_continues() -> None:
            row = self.database.rows.get(run_id)
            if row is not None and row.status == "active":
                row.askers |= askers

        await self.visit("set_continues", set_continues)

    async def abandoned(self) -> Collection[RunKey]:
        return await self.visit("abandoned", lambda: [row.key for row in self._dead() if self._is_adopted(row)])

    def _dead(self) -> list[Row]:
        """The active runs whose lease has expired."""
        rows = self.database.rows.values()
        return [row for row in rows if row.status == "active" and not self.held(row)]

    def _is_adopted(self, row: Row) -> bool:
        return (
            self._has_asker(row) and row.stop_requested is None and row.key.conversation_id not in self.database.deleted
        )

    async def sweep(self) -> None:
        def sweep() -> None:
            expired = self.database.clock() - 1.0, self.database.clock() - ADOPTED_WITHIN_SECONDS
            for row in self._dead():
                awaited = self._has_asker(row) and row.stop_requested is None and row.lease_until > expired[1]
                if row.lease_until < expired[0] and not awaited:
                    self.database.end(row, "dropped" if row.stop_requested is None else "stopped")

        await self.visit("sweep", sweep)

    async def clean(self) -> None:
        await self.visit("clean", lambda: None)

    # --- stop ---------------------------------------------------------------------------------------------

    async def require_conversation(self, companies: Companies, conversation_id: UUID) -> None:
        def require() -> None:
            self.database.require(companies, conversation_id)

        await self.visit("require_conversation", require)

    async def request_stop(self, conversation_id: UUID, run_id: UUID | None, *, keep: bool) -> UUID | None:
        return await self.visit("request_stop", lambda: self._request_stop(conversation_id, run_id, keep=keep))

    def _request_stop(self, conversation_id: UUID, run_id: UUID | None, *, keep: bool) -> UUID | None:
        row = self.database.active(conversation_id)
        if row is None or run_id not in (None, row.id):
            return None
        row.stop_requested = row.stop_requested or ("keep" if keep else "discard")
        if not self._leased(row):
            self.database.end(row, "stopped")
            return None
        self.database.places.tell(row.owner, f"run {row.id}")
        return row.id

    async def stop_state(self, run_id: UUID) -> StopState:
        def stop_state() -> StopState:
            row = self.database.rows.get(run_id)
            if row is None or row.status in ("stopped", "kept"):
                return StopState.STOPPED
            if row.status != "active":
                return StopState.ENDED
            if self._leased(row):
                return StopState.PENDING
            self.database.end(row, "stopped")
            return StopState.STOPPED

        return await self.visit("stop_state", stop_state)


def refuse_what_postgresql_refuses(*texts: str | None) -> None:
    for text in texts:
        if text is not None:
            text.encode()
            if "\0" in text:
                raise ValueError("PostgreSQL text fields cannot contain NUL (0x00) bytes")


def effective(answer: Answer) -> str:
    return answer.new.text if answer.edited is None else answer.edited


def stored(row: Row) -> Stored:
    answer = row.answer
    assert answer is not None
    return Stored(
        run_id=row.id,
        epoch=row.epoch,
        message_id=answer.new.message_id,
        text=effective(answer),
        edited=answer.edited is not None,
        kept=answer.new.kept,
        usage=answer.new.usage,
        stop_reason=answer.new.stop_reason,
    )


def ended(row: Row) -> Ended:
    assert row.status in ("stopped", "failed", "dropped")
    return Ended(row.id, row.epoch, row.status, row.code, row.message)
