"""What processes share about answers in the making, in memory: `live.sharing_store.SharingStore`, and its hints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from uuid import UUID

from chatserver.live.outcomes import Elsewhere, Orphaned
from chatserver.live.sharing_store import Look, Position, SharedEvents
from tests.kit.memory_store import FOLLOWED_SECONDS, MemoryStore, ended, stored

# As many rows as one look reads.
ROWS_OF_A_LOOK = 2


class MemorySharingStore:
    """For one process, on the database of its `MemoryStore`, whose faults it shares."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._database = store.database

    async def share(self, events: Sequence[SharedEvents]) -> Collection[UUID]:
        return await self._store.visit("share", lambda: self._share(tuple(events)))

    def _share(self, events: Sequence[SharedEvents]) -> set[UUID]:
        missing: set[UUID] = set()
        told: dict[UUID, None] = {}
        for each in events:
            row = self._database.rows.get(each.run_id)
            told[each.run_id] = None
            if row is None or (row.owner, row.epoch, row.status) != (self._store.owner, each.epoch, "active"):
                continue
            there = self._database.frames.setdefault((each.run_id, each.epoch), {})
            if each.run_id in missing or (each.after and each.after not in there):
                missing.add(each.run_id)
                continue
            there[each.seq] = each
        self._database.notify(self._store.owner, told)
        return missing

    async def tell(self, run_ids: Collection[UUID]) -> None:
        await self._store.visit("tell", lambda: self._database.notify(self._store.owner, run_ids))

    async def follow(self, run_ids: Collection[UUID]) -> None:
        asked = tuple(run_ids)

        def follow() -> None:
            for row in filter(None, map(self._database.rows.get, asked)):
                if row.status == "active":
                    is_new = self._store.owner not in row.followers
                    row.followers[self._store.owner] = self._database.clock() + FOLLOWED_SECONDS
                    if is_new:
                        self._database.notify_inbox(row.owner, f"run {row.id}")

        await self._store.visit("follow", follow)

    async def unfollow(self, run_ids: Collection[UUID]) -> None:
        asked = tuple(run_ids)

        def unfollow() -> None:
            for row in filter(None, map(self._database.rows.get, asked)):
                if row.followers.pop(self._store.owner, None) is not None and row.status == "active":
                    self._database.notify_inbox(row.owner, f"run {row.id}")

        await self._store.visit("unfollow", unfollow)

    async def look(self, positions: Sequence[Position]) -> Mapping[UUID, Look]:
        asked = tuple(positions)
        return await self._store.visit("look", lambda: {each.run_id: self._look(each) for each in asked})

    def _look(self, position: Position) -> Look:
        row = self._database.rows.get(position.run_id)
        if row is None:
            return Look(Orphaned())
        if row.status != "active":
            return Look(stored(row) if row.answer is not None else ended(row))
        if not self._store.held(row):
            return Look(Orphaned())
        have = position.seq if position.epoch == row.epoch else 0
        there = self._database.frames.get((row.id, row.epoch), {})
        events = [there[seq] for seq in sorted(there) if seq > have][:ROWS_OF_A_LOOK]
        return Look(Elsewhere(row.id, row.epoch), row.owner, events, more=len(events) == ROWS_OF_A_LOOK)


class MemoryHints:
    """`live.sharing_store.Hints` for one process."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def listen(self, process: UUID, heard: Callable[[str], None]) -> None:
        self._store.database.listening[self._store.owner, process] = heard
        asyncio.get_running_loop().call_soon(self._began, process, heard)

    def _began(self, process: UUID, heard: Callable[[str], None]) -> None:
        if self._store.database.listening.get((self._store.owner, process)) is heard:
            heard("")

    def unlisten(self, process: UUID) -> None:
        self._store.database.listening.pop((self._store.owner, process), None)
