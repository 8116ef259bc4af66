"""A run store in memory that keeps what `live.store.RunStore` promises, for any number of processes at once.

Its time is a clock that is handed in. It refuses what PostgreSQL would refuse, can be away for all or for one process,
can lose the confirmation of what took effect, and can be held in the middle of a visit.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from chatserver.errors import DatabaseUnavailableError, ErrorCode, NotFoundError
from chatserver.ids import uuid7
from chatserver.live.store import Busy, Claimed, ClaimOutcome, Elsewhere, Ended, Look, Renewal, RunKey, Stored
from chatserver.providers.base import Prompt, Provider, Turn, Usage

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
    """`RunStore` for one process. `away`: for this process alone. `dead`: it comes back from no visit any more."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database
        self.owner = uuid7()
        self.away = False
        self.dead = False
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

    @asynccontextmanager
    async def _visit(self, method: str) -> AsyncIterator[None]:
        self.visits[method] += 1
        await asyncio.sleep(0)  # there
        if method in self.holds:
            await self.holds[method].wait()
        if self.dead:
            await asyncio.Event().wait()
        if self.away or self.database.away:
            raise DatabaseUnavailableError
        if method in self.defects:
            raise self.defects.pop(method)
        yield
        await asyncio.sleep(0)  # and back
        if self.dead:
            await asyncio.Event().wait()
        if self.lose[method] > 0:
            self.lose[method] -= 1
            raise DatabaseUnavailableError

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
        async with self._visit("claim"):
            return self._claim(key, run_id, continues)
        raise AssertionError("unreachable")

    def _claim(self, key: RunKey, run_id: UUID, continues: bool) -> ClaimOutcome:
        database = self.database
        if key.conversation_id in database.deleted:
            raise NotFoundError
        row = database.current(key)
        if row is not None and row.status != "active":
            return stored(row)
        if row is not None and self._leased(row):
            return Elsewhere(row.id, row.epoch)
        if database.refusal is not None:
            raise database.refusal
        if row is not None:
            row.owner, row.epoch, row.lease_until, row.stop_requested = self.owner, row.epoch + 1, self._lease(), None
            return self._claimed(row)
        active = database.active(key.conversation_id)
        if active is not None:
            if self._leased(active):
                return Busy()
            active.status = "dropped"
        assert run_id not in database.rows, "the id of a run is used twice"
        database.rows[run_id] = row = Row(run_id, key, self.owner, self._lease(), continues)
        return self._claimed(row)

    def _claimed(self, row: Row) -> Claimed:
        return Claimed(row.id, row.epoch, self.database.provider, Prompt((Turn("user", "?"),)))

    async def look(self, run_id: UUID) -> Look | None:
        async with self._visit("look"):
            row = self.database.rows.get(run_id)
            if row is None:
                return None
            if row.status == "active":
                if not self._leased(row):
                    return None
                row.followed_until = self.database.clock() + FOLLOWED_SECONDS
                return Elsewhere(row.id, row.epoch)
            return stored(row) if row.answer is not None else ended(row)
        raise AssertionError("unreachable")

    async def renew(self, run_ids: Collection[UUID]) -> Mapping[UUID, Renewal]:
        async with self._visit("renew"):
            renewals = {}
            for run_id in run_ids:
                row = self.database.rows.get(run_id)
                if row is not None and row.owner == self.owner and row.status == "active":
                    row.lease_until = self._lease()
                    renewals[run_id] = Renewal(row.stop_requested, row.followed_until > self.database.clock())
            return renewals
        raise AssertionError("unreachable")

    async def next_epoch(self, run_id: UUID, epoch: int) -> int | None:
        async with self._visit("next_epoch"):
            row = self._own(run_id, epoch)
            if row is None:
                return None
            row.epoch += 1
            return row.epoch
        raise AssertionError("unreachable")

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
        async with self._visit("commit"):
            refuse_what_postgresql_refuses(text, stop_reason)
            for count in () if usage is None else (usage.input_tokens, usage.output_tokens):
                if not -GREATEST_INTEGER <= count <= GREATEST_INTEGER:
                    raise OverflowError("integer out of range")
            row = self.database.rows.get(run_id)
            if row is not None and row.answer is not None and row.answer.message_id == message_id:
                return True
            row = self._own(run_id, epoch)
            if row is None:
                return False
            if row.key.conversation_id in self.database.deleted:
                row.status = "stopped"
                return False
            row.answer = Answer(message_id, text, usage, stop_reason)
            row.status = "kept" if kept else "completed"
            return True
        raise AssertionError("unreachable")

    async def end(
        self,
        run_id: UUID,
        epoch: int,
        status: Literal["stopped", "failed", "dropped"],
        code: ErrorCode | None = None,
        message: str | None = None,
    ) -> None:
        async with self._visit("end"):
            refuse_what_postgresql_refuses(code, message)
            row = self._own(run_id, epoch)
            if row is not None:
                row.status, row.code, row.message = status, code, message

    async def release(self, run_ids: Collection[UUID]) -> None:
        async with self._visit("release"):
            for run_id in run_ids:
                row = self.database.rows.get(run_id)
                if row is not None and row.owner == self.owner and row.status == "active":
                    row.lease_until = self.database.clock()

    async def set_continues(self, run_id: UUID) -> None:
        async with self._visit("set_continues"):
            row = self.database.rows.get(run_id)
            if row is not None and row.status == "active":
                row.continues = True

    async def abandoned(self) -> Collection[RunKey]:
        async with self._visit("abandoned"):
            return [
                row.key
                for row in self.database.rows.values()
                if row.status == "active"
                and row.continues
                and not self._leased(row)
                and row.key.conversation_id not in self.database.deleted
            ]
        raise AssertionError("unreachable")


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
    return Ended(row.id, row.epoch, row.status, row.code, row.message)  # type: ignore[arg-type]
