"""Ending and removing what processes that died have left behind, in small statements."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, literal_column, not_, select, text, update

from chatserver.storage import places
from chatserver.storage.continuing import HAS_ASKER
from chatserver.storage.runs import ADOPTED_WITHIN, NOW
from chatserver.storage.sharing_tables import followers
from chatserver.storage.tables import runs

AT_ONCE = 100
"""How many runs one statement ends."""

# Who follows a run takes it over as soon as its lease has expired.
_LEFT_TO_FOLLOWERS: ColumnElement[Any] = literal_column("interval '1 second'")
_AWAITED = and_(runs.c.stop_requested.is_(None), runs.c.lease_until > NOW - ADOPTED_WITHIN, HAS_ASKER)
_DEAD = (
    select(runs.c.id)
    .where(
        runs.c.status == literal_column("'active'"),  # for the partial index
        runs.c.lease_until < NOW - _LEFT_TO_FOLLOWERS,
        not_(_AWAITED),
    )
    .order_by(runs.c.id)  # as processes lock followers, which the ends remove
    .limit(AT_ONCE)
    .with_for_update(skip_locked=True)
    .cte("dead")
)
_END_DEAD = (
    update(runs)
    .where(runs.c.id == _DEAD.c.id)
    .values(
        status=case((runs.c.stop_requested.is_(None), literal_column("'dropped'")), else_=literal_column("'stopped'")),
        ended_at=NOW,
    )
)

# The frames of a run are removed with its end, and with each new epoch. An owner that was frozen may have written some
# more. Each step of the recursion looks up the next run in the primary key, so it reads no other frames.
_REMOVE_FRAMES = text("""
WITH RECURSIVE of_runs AS (
    (SELECT run_id, epoch FROM chat_frames ORDER BY run_id, epoch LIMIT 1)
    UNION ALL
    SELECT next.run_id, next.epoch FROM of_runs CROSS JOIN LATERAL (
        SELECT f.run_id, f.epoch FROM chat_frames AS f
        WHERE (f.run_id, f.epoch) > (of_runs.run_id, of_runs.epoch) ORDER BY f.run_id, f.epoch LIMIT 1
    ) AS next
), over AS MATERIALIZED (
    SELECT run_id, epoch FROM of_runs
    WHERE NOT EXISTS (
        SELECT FROM chat_runs AS r WHERE r.id = of_runs.run_id AND r.epoch = of_runs.epoch AND r.status || '' = 'active'
    )
)
DELETE FROM chat_frames AS f USING over WHERE f.run_id = over.run_id AND f.epoch = over.epoch
""")
_LONG_GONE = (
    select(followers.c.run_id, followers.c.process)
    .where(followers.c.until < func.clock_timestamp() - literal_column("interval '10 seconds'"))
    .with_for_update(skip_locked=True)
    .cte("long_gone")
)
_REMOVE_FOLLOWERS = delete(followers).where(
    followers.c.run_id == _LONG_GONE.c.run_id, followers.c.process == _LONG_GONE.c.process
)


def end_dead_runs(connection: Connection) -> int:
    """End runs whose lease has expired, AT_ONCE at most; how many there were.

    Those that shall go on without readers are left to be taken over, for a minute.
    """
    return connection.execute(_END_DEAD).rowcount


def remove_left_behind(connection: Connection) -> None:
    """Remove frames of runs that are over, and what processes that died told of followers and places."""
    connection.execute(_REMOVE_FRAMES)
    connection.execute(_REMOVE_FOLLOWERS)
    places.remove_expired(connection)
