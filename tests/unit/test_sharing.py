"""Sharing of events, without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from uuid import UUID

from chatserver.ids import uuid7
from chatserver.live.journal import Journal
from chatserver.live.sharing import SHARE_SECONDS, Sharing
from chatserver.live.sharing_store import Look, Position, SharedEvents
from tests.kit.virtual_time import in_virtual_time


class Written:
    """A store that remembers what was written."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.told: list[UUID] = []

    async def share(self, events: Sequence[SharedEvents]) -> Collection[UUID]:
        self.seqs += [each.seq for each in events]
        return ()

    async def tell(self, run_ids: Collection[UUID]) -> None:
        self.told += run_ids

    async def follow(self, run_ids: Collection[UUID]) -> None: ...

    async def unfollow(self, run_ids: Collection[UUID]) -> None: ...

    async def look(self, positions: Sequence[Position]) -> dict[UUID, Look]:
        return {}


@in_virtual_time
async def test_renewal_during_the_write_of_the_end_shares_nothing() -> None:
    written, journal = Written(), Journal(uuid7(), 1)
    sharing = Sharing(written)
    journal.append_token("a")
    sharing.share(journal)
    await asyncio.sleep(2 * SHARE_SECONDS)
    assert written.seqs == [1]
    async with sharing.withdrawn(journal):
        sharing.share(journal)  # as a renewal does that comes meanwhile
        await asyncio.sleep(2 * SHARE_SECONDS)
        assert (written.seqs, written.told) == ([1], [])
    await asyncio.sleep(2 * SHARE_SECONDS)
    assert written.told == [journal.run_id]
    await sharing.close()
