"""Renewal of leases: one statement for all runs of a process, which writes only what is due."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, select, update

from chatserver.storage import leases
from chatserver.storage.tables import runs
from tests.storage.conftest import Chat

LEASE_SECONDS = 9.0
OWNER = uuid4()


def run(connection: Connection, chat: Chat, seconds_left: float, **columns: Any) -> UUID:
    run_id = chat.run(chat.conversation(), "active", lease_seconds=seconds_left)
    connection.execute(update(runs).where(runs.c.id == run_id).values(**{"owner": OWNER, **columns}))
    return run_id


def lease(connection: Connection, run_id: UUID) -> datetime:
    until: datetime = connection.execute(select(runs.c.lease_until).where(runs.c.id == run_id)).scalar_one()
    return until


@pytest.mark.parametrize(("seconds_left", "due"), [(9, False), (7, False), (5, True), (1, True), (-1, True)])
def test_lease_is_extended_when_its_first_third_is_over(
    connection: Connection, chat: Chat, seconds_left: float, due: bool
) -> None:
    run_id = run(connection, chat, seconds_left)
    before = lease(connection, run_id)
    (row,) = leases.renew(connection, [run_id], OWNER, LEASE_SECONDS)
    assert (row.id, row.stop_requested, row.continues, row.continues_for, row.followed) == (
        run_id,
        None,
        False,
        None,
        False,
    )
    assert (lease(connection, run_id) > before) is due


def test_all_runs_are_looked_at_and_those_that_are_lost_are_missing(connection: Connection, chat: Chat) -> None:
    kept = [run(connection, chat, seconds, stop_requested="keep") for seconds in (9, 1, 8, 2)]
    lost = [
        run(connection, chat, 9, owner=uuid4()),
        run(connection, chat, 1, owner=uuid4()),
        run(connection, chat, 9, status="stopped"),
        run(connection, chat, 1, status="stopped"),
    ]
    rows = leases.renew(connection, [*kept, *lost, uuid4()], OWNER, LEASE_SECONDS)
    assert sorted(row.id for row in rows) == sorted(kept)
    assert {row.stop_requested for row in rows} == {"keep"}
