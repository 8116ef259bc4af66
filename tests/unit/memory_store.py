"""A run store in memory that keeps what `live.store.RunStore` promises, for any number of processes at once.

Its time is a clock that is handed in. It refuses what PostgreSQL would refuse, can be away for all or for one process,
can lose the confirmation of what took effect, and can be held in the middle of a visit.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from uuid import UUID

from chatserver.errors import DatabaseUnavailableError, ErrorCode, NotFoundError
from chatserver.ids import uuid7
from chatserver.live.store import Busy, Claimed, ClaimOutcome, Elsewhere, Ended, Look, Renewal, RunKey, Stored
from chatserver.providers.base import Prompt, Provider, Turn, Usage

T = TypeVar("T")

LEASE_SECONDS = 15.0
FOLLOWED_SECONDS = 3.0
GREATEST_INTEGER = 2**31 - 1

Status = Literal["active", "completed", "kept", "stopped", "failed", "dropped"]


@dataclass
class Answer:
    """A stored answer; `edited` is its edited content."""

    message_id: UUID
    text: str
    usage: Usage | None
    stop_reason: str | None
    edited: str | None = None


@dataclass
class Row:
    """A run."""

    id: UUID
    key: RunKey
    owner: UUID
    lease_until: float
    continues: bool
    epoch: int = 1
    status: Status = "active"
    followed_until: float = float("-inf")
    stop_requested: Literal["discard", "keep"] | None = None
    answer: Answer | None = None
    code: ErrorCode | None = None
    message: str | None = None


class Hold:
    """A visit that waits before it has any effect: `entered` tells that it is there, `release` lets it go on."""

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
    """What all processes share. `refusal` is raised by claims, as for a provider that is not configured."""

    clock: Callable[[], float]
    provider: Provider
    away: bool = False
    rows: dict[UUID, Row] = field(default_factory=dict)
    deleted: set[UUID] = field(default_factory=set)
    refusal: Exception | None = None

    def current(self, key: RunKey) -> Row | None:
        """The run that makes the answer or made the one that is stored."""
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
        return [row.answer.text for row in self.rows.values() if row.answer is not None]

    def statuses(self) -> list[Status]:
        """Of all runs, in the order in which they were claimed."""
        return [row.status for row in self.rows.values()]


class MemoryStore:
    """`RunStore` for one process. `away`: for this process alone."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database
        self.owner = uuid7()
        self.away = False
        self.dead = False
        self._on_their_way: set[asyncio.Future[Any]] = set()
        # how long a visit takes, one way
        self.latency_seconds = 0.0
        self.visits: Counter[str] = Counter()
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
        """Until no visit is on its way any more, of those that nobody waits for either."""
        while self._on_their_way:
            await asyncio.wait(self._on_their_way)

    def die(self) -> None:
        """What is on its way has no effect any more, and nothing comes back."""
        self.dead = True
        for visit in self._on_their_way:
            visit.cancel()

    async def _visit(self, method: str, effect: Callable[[], T]) -> T:
        """What `effect` gives. It takes place also when the caller does not wait for it any more, as on a thread."""
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

    def _lease(self) -> float:
        return self.database.clock() + LEASE_SECONDS

    def _own(self, run_id: UUID, epoch: int) -> Row | None:
        row = self.database.rows.get(run_id)
        if row is None or (row.owner, row.epoch, row.status) != (self.owner, epoch, "active"):
            return None
        return row

    # --- RunStore -----------------------------------------------------------------------------------------

    async def claim(self, key: RunKey, run_id: UUID, *, continues: bool) -> ClaimOutcome:
        return await self._visit("claim", lambda: self._claim(key, run_id, continues))

    async def open(self, key: RunKey, *, continues: bool, wait: bool) -> Claimed | Elsewhere | Stored | Busy:
        """What is asked when a client comes: a claim, but with `wait` nothing is begun, for others come first."""
        return await self._visit("open", lambda: self._open(key, continues, wait))

    def _open(self, key: RunKey, continues: bool, wait: bool) -> Claimed | Elsewhere | Stored | Busy:
        outcome = self._claim(key, uuid7(), continues, wait=wait)
        if isinstance(outcome, Ended):  # this client has not waited for it
            outcome = self._claim(key, uuid7(), continues, wait=wait)
        assert not isinstance(outcome, Ended)
        return outcome

    def _claim(self, key: RunKey, run_id: UUID, continues: bool, *, wait: bool = False) -> ClaimOutcome:
        database = self.database
        if key.conversation_id in database.deleted:
            raise NotFoundError
        row = database.current(key)
        if row is not None:
            if row.status != "active":
                return stored(row)
            # One of our own, of which nobody here knows, was claimed without our hearing of it.
            if self._leased(row) and (row.owner != self.owner or wait):
                return Elsewhere(row.id, row.epoch)
            if row.stop_requested is not None and not self._leased(row):
                row.status = "stopped"
                return Ended(row.id, row.epoch, "stopped")
        if database.refusal is not None:
            raise database.refusal
        if row is not None:
            row.owner, row.epoch, row.lease_until = self.owner, row.epoch + 1, self._lease()
            return self._claimed(row, continues)
        if wait:
            return Busy()
        active = database.active(key.conversation_id)
        if active is not None:
            if self._leased(active) or (active.continues and active.stop_requested is None):
                return Busy()
            active.status = "stopped" if active.stop_requested else "dropped"
        assert run_id not in database.rows, "the id of a run is used twice"
        database.rows[run_id] = row = Row(run_id, key, self.owner, self._lease(), continues)
        return self._claimed(row, continues)

    def _claimed(self, row: Row, continues: bool) -> Claimed:
        prompt = Prompt((Turn("user", "?"),))
        return Claimed(row.id, row.epoch, self.database.provider, prompt, continues or row.continues)

    async def look(self, run_id: UUID) -> Look | None:
        return await self._visit("look", lambda: self._look(run_id))

    def _look(self, run_id: UUID) -> Look | None:
        row = self.database.rows.get(run_id)
        if row is None:
            return None
        if row.status == "active":
            if not self._leased(row):
                return None
            row.followed_until = self.database.clock() + FOLLOWED_SECONDS
            return Elsewhere(row.id, row.epoch)
        return stored(row) if row.answer is not None else ended(row)

    async def renew(self, run_ids: Collection[UUID]) -> Mapping[UUID, Renewal]:
        asked = tuple(run_ids)

        def renew() -> Mapping[UUID, Renewal]:
            renewals = {}
            for row in map(self.database.rows.get, asked):
                if row is not None and row.owner == self.owner and row.status == "active":
                    row.lease_until = self._lease()
                    followed = row.followed_until > self.database.clock()
                    renewals[row.id] = Renewal(row.stop_requested, followed, row.continues)
            return renewals

        return await self._visit("renew", renew)

    async def next_epoch(self, run_id: UUID, epoch: int) -> int | None:
        def begin_anew() -> int | None:
            row = self._own(run_id, epoch) or self._own(run_id, epoch + 1)
            if row is None:
                return None
            row.epoch = epoch + 1
            return row.epoch

        return await self._visit("next_epoch", begin_anew)

    async def commit(
        self,
        run_id: UUID,
        epoch: int,
        message_id: UUID,
        text: str,
        *,
        kept: bool,
        usage: Usage | None,
        stop_reason: str | None,
    ) -> bool:
        return await self._visit(
            "commit", lambda: self._commit(run_id, epoch, kept, Answer(message_id, text, usage, stop_reason))
        )

    def _commit(self, run_id: UUID, epoch: int, kept: bool, answer: Answer) -> bool:
        refuse_what_postgresql_refuses(answer.text, answer.stop_reason)
        for count in () if answer.usage is None else (answer.usage.input_tokens, answer.usage.output_tokens):
            if not -GREATEST_INTEGER <= count <= GREATEST_INTEGER:
                raise OverflowError("integer out of range")
        row = self.database.rows.get(run_id)
        if row is not None and row.answer is not None and row.answer.message_id == answer.message_id:
            return True
        row = self._own(run_id, epoch)
        if row is None:
            return False
        if row.key.conversation_id in self.database.deleted:
            row.status = "stopped"
            return False
        row.answer = answer
        row.status = "kept" if kept else "completed"
        return True

    async def end(
        self,
        run_id: UUID,
        epoch: int,
        status: Literal["stopped", "failed", "dropped"],
        code: ErrorCode | None = None,
        message: str | None = None,
    ) -> None:
        def end() -> None:
            refuse_what_postgresql_refuses(code, message)
            row = self._own(run_id, epoch)
            if row is not None:
                row.status, row.code, row.message = status, code, message

        await self._visit("end", end)

    async def release(self, run_ids: Collection[UUID]) -> None:
        asked = tuple(run_ids)

        def release() -> None:
            for row in map(self.database.rows.get, asked):
                if row is not None and row.owner == self.owner and row.status == "active":
                    row.lease_until = self.database.clock()

        await self._visit("release", release)

    async def set_continues(self, run_id: UUID) -> None:
        def set_continues() -> None:
            row = self.database.rows.get(run_id)
            if row is not None and row.status == "active":
                row.continues = True

        await self._visit("set_continues", set_continues)

    async def abandoned(self) -> Collection[RunKey]:
        return await self._visit(
            "abandoned",
            lambda: [
                row.key
                for row in self.database.rows.values()
                if row.status == "active"
                and row.continues
                and row.stop_requested is None
                and not self._leased(row)
                and row.key.conversation_id not in self.database.deleted
            ],
        )


def refuse_what_postgresql_refuses(*texts: str | None) -> None:
    for text in texts:
        if text is not None:
            text.encode()
            if "\0" in text:
                raise ValueError("PostgreSQL text fields cannot contain NUL (0x00) bytes")


def stored(row: Row) -> Stored:
    answer = row.answer
    assert answer is not None
    return Stored(
        run_id=row.id,
        epoch=row.epoch,
        message_id=answer.message_id,
        text=answer.text if answer.edited is None else answer.edited,
        edited=answer.edited is not None,
        kept=row.status == "kept",
        usage=answer.usage,
        stop_reason=answer.stop_reason,
    )


def ended(row: Row) -> Ended:
    assert row.status in ("stopped", "failed", "dropped")
    return Ended(row.id, row.epoch, row.status, row.code, row.message)
