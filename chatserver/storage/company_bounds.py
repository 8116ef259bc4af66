"""What one company has of what is bounded per company, over all processes: active runs, and open streams.

Whoever adds one holds the company's lock until the end of the transaction, so nobody adds one too many. The lock is one
of the transaction: it also works through a transaction pooler, and no process that dies leaves it behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

# Two kinds of locks, so that a claim does not wait for the count of streams.
_RUNS, _STREAMS = 1, 2

# One after the other in the order of their keys: two transactions that lock the same companies do not deadlock.
_LOCK = text("""
SELECT count(pg_advisory_xact_lock(key)) FROM (
    SELECT DISTINCT hashtextextended(company::text, :kind) AS key FROM unnest(CAST(:companies AS uuid[])) AS company
    ORDER BY key
) AS keys
""")

_ACTIVE_RUNS = text("""
SELECT count(*) FROM (
    SELECT FROM chat_runs AS run
    WHERE run.company_id = :company AND run.status || '' = 'active' AND run.lease_until > clock_timestamp()
    LIMIT :at_most
) AS counted
""")

# What a process that died counts, for at most so long.
COUNTED_SECONDS = 15

_COUNT_STREAMS = text("""
WITH asked AS (
    SELECT * FROM unnest(CAST(:companies AS uuid[]), CAST(:open AS int[]), CAST(:wanted AS int[]))
        AS asked (company_id, open, wanted)
), room AS (
    SELECT asked.*, greatest(0, :limit - open - coalesce((
        SELECT sum(streams) FROM chat_open_streams AS others
        WHERE others.company_id = asked.company_id AND others.process <> :process
            AND others.counted_until > clock_timestamp()
    ), 0))::int AS room
    FROM asked
)
INSERT INTO chat_open_streams AS counted (company_id, process, streams, counted_until)
SELECT company_id, :process, open + least(wanted, room), clock_timestamp() + :seconds * interval '1 second' FROM room
ON CONFLICT (company_id, process) DO UPDATE
SET streams = excluded.streams, counted_until = excluded.counted_until
RETURNING company_id, streams
""")

# What somebody else has locked is left: its process is about to count again.
_FORGET = text("""
DELETE FROM chat_open_streams WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM chat_open_streams
    WHERE counted_until <= clock_timestamp() OR (process = :process AND (streams = 0 OR :all))
    FOR UPDATE SKIP LOCKED
))
""")


def has_room_for_run(connection: Connection, company_id: UUID, limit: int) -> bool:
    """Whether a company has fewer than `limit` active runs, until the end of the transaction.

    Runs whose lease is over do not count: their process died.
    """
    connection.execute(_LOCK, {"kind": _RUNS, "companies": [company_id]})
    # A statement of its own, which sees what was committed before the lock was got.
    return bool(connection.execute(_ACTIVE_RUNS, {"company": company_id, "at_most": limit}).scalar_one() < limit)


def count_streams(
    connection: Connection,
    process: UUID,
    limit: int,
    companies: Sequence[UUID],
    opened: Sequence[int],
    wanted: Sequence[int],
) -> dict[UUID, int]:
    """Write down how many streams a process has open, by company, and let it open as many as there is room for.

    `opened`: how many it has; `wanted`: how many more it wants. How many more it may have: together with those of
    other processes they are at most `limit`. It counts for COUNTED_SECONDS. To be run in a transaction.
    """
    connection.execute(_LOCK, {"kind": _STREAMS, "companies": list(companies)})
    rows = connection.execute(
        _COUNT_STREAMS,
        {
            "companies": list(companies),
            "open": list(opened),
            "wanted": list(wanted),
            "process": process,
            "limit": limit,
            "seconds": COUNTED_SECONDS,
        },
    )
    streams = {row.company_id: row.streams for row in rows}
    return {company: streams[company] - has for company, has in zip(companies, opened, strict=True)}


def forget_streams(connection: Connection, process: UUID, *, all_of_process: bool = False) -> None:
    """Delete what counts no more: of processes that died, and of companies that have no stream here.

    `all_of_process`: the process ends.
    """
    connection.execute(_FORGET, {"process": process, "all": all_of_process})
