"""The store of what live answers share between processes, on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from uuid import UUID

from sqlalchemy import Connection

from chatserver.channels import frames_of
from chatserver.live.absence import Absence
from chatserver.live.outcomes import Elsewhere
from chatserver.live.sharing_store import Look, Position, SharedEvents
from chatserver.services import run_outcomes
from chatserver.storage import frames
from chatserver.storage.postgres.database import Database
from chatserver.storage.postgres.notifications import Notifications

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class PostgresSharingStore:
    """`live.sharing_store.SharingStore` for the process that is known as `process`.

    `database` is for this alone: it must not wait behind the requests of users. `absence` tells when it was away.
    """

    def __init__(self, database: Database, process: UUID, absence: Absence) -> None:
        self._database = database
        self._absence = absence
        self._process = process
        self._channel = frames_of(process)

    async def share(self, events: Sequence[SharedEvents]) -> Collection[UUID]:
        rows = [frames.FrameRow(each.run_id, each.epoch, each.after, each.seq, _encode(each.texts)) for each in events]
        return await self._database.autocommit(frames.write, self._process, self._channel, rows)

    async def tell(self, run_ids: Collection[UUID]) -> None:
        await self._database.autocommit(frames.tell, self._channel, run_ids)

    async def follow(self, run_ids: Collection[UUID]) -> None:
        await self._database.autocommit(frames.follow, self._process, run_ids)

    async def unfollow(self, run_ids: Collection[UUID]) -> None:
        await self._database.autocommit(frames.unfollow, self._process, run_ids)

    async def look(self, positions: Sequence[Position]) -> Mapping[UUID, Look]:
        return await self._database.autocommit(_look, positions, owners_may_return=self._absence.recent)


def _look(connection: Connection, positions: Sequence[Position], *, owners_may_return: bool) -> dict[UUID, Look]:
    rows = frames.look(
        connection,
        [position.run_id for position in positions],
        [position.epoch for position in positions],
        [position.seq for position in positions],
    )
    looks: dict[UUID, Look] = {}
    for run_id, of_run in groupby(rows, attrgetter("run_id")):
        first, *others = of_run
        events = [
            SharedEvents(run_id, row.epoch, row.seq - row.events, row.seq, json.loads(row.body))
            for row in (first, *others)
            if row.seq is not None
        ]
        state = Elsewhere(run_id, first.epoch)
        looks[run_id] = Look(state, first.owner, events, more=len(events) == frames.ROWS_OF_A_LOOK)
    for position in positions:
        if position.run_id not in looks:
            looks[position.run_id] = Look(
                run_outcomes.state(connection, position.run_id, owners_may_return=owners_may_return)
            )
    return looks


class PostgresHints:
    """`live.sharing_store.Hints` by NOTIFY."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications

    def listen(self, process: UUID, heard: Callable[[str], None]) -> None:
        self._notifications.listen(frames_of(process), heard)

    def unlisten(self, process: UUID) -> None:
        self._notifications.unlisten(frames_of(process))
