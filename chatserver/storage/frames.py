"""Events of answers in the making, between processes, and which process has readers of which run.

They are written in SQL and go to the driver directly, since they run many times a second. The sessions
for which they are meant have SESSION_SETTINGS.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from chatserver.storage.turns.statements import FOR_EACH_ROW, array, execute
from chatserver.storage.turns.statements import SESSION_SETTINGS as FOUND_BY_INDEX

# What is lost in a crash is written again.
SESSION_SETTINGS = FOUND_BY_INDEX | {"synchronous_commit": "off"}

# How long readers at another process count after it has last told of them.
FOLLOWED_SECONDS = 3
# The most rows of a run that one look reads.
ROWS_OF_A_LOOK = 16
# The most characters of a notification.
PAYLOAD_CHARS = 7_000


@dataclass(frozen=True, slots=True)
class FrameRow:
    """Events of a run: those behind number `after`, up to and with number `seq` of the epoch, as `body`."""

    run_id: UUID
    epoch: int
    after: int
    seq: int
    body: str


# asked -> held (of runs that are the process's own) -> whole (nothing is missing before) -> the rows
# Rows of one run follow one another: only the first one has others before it.
_WRITE = f"""
WITH asked AS (
    SELECT * FROM unnest(
        %(runs)s::uuid[], %(epochs)s::int[], %(starts)s::int[], %(afters)s::int[], %(seqs)s::int[], %(bodies)s::text[]
    ) AS asked (run_id, epoch, start, after, seq, body)
), held AS MATERIALIZED (
    SELECT asked.*, start = 0 OR EXISTS (
        SELECT FROM chat_frames AS f
        WHERE f.run_id = asked.run_id AND f.epoch = asked.epoch AND f.seq = asked.start
        {FOR_EACH_ROW}
    ) AS whole
    FROM asked CROSS JOIN LATERAL (
        SELECT FROM chat_runs AS r
        WHERE r.id = asked.run_id AND r.owner = %(owner)s AND r.epoch = asked.epoch AND r.status || '' = 'active'
        {FOR_EACH_ROW}
    ) AS run
), written AS (
    INSERT INTO chat_frames (run_id, epoch, seq, events, body)
    SELECT run_id, epoch, seq, seq - after, body FROM held WHERE whole ORDER BY run_id, seq
    ON CONFLICT (run_id, epoch, seq) DO UPDATE SET events = excluded.events, body = excluded.body
)
SELECT DISTINCT run_id, NULL::text AS told FROM held WHERE NOT whole
UNION ALL SELECT NULL, pg_notify(%(channel)s, %(payload)s)::text
"""  # noqa: S608 (only constants are put in)

_TELL = "SELECT pg_notify(%(channel)s, %(payload)s)::text"

# An owner hears of a process that is new here, at its inbox.
_FOLLOW = f"""
WITH asked AS (
    SELECT DISTINCT run_id FROM unnest(%(runs)s::uuid[]) AS asked (run_id)
), told AS (
    INSERT INTO chat_followers AS f (run_id, process, until)
    SELECT run_id, %(process)s, clock_timestamp() + interval '{FOLLOWED_SECONDS} seconds'
    FROM asked CROSS JOIN LATERAL (
        SELECT FROM chat_runs AS r WHERE r.id = asked.run_id AND r.status || '' = 'active' {FOR_EACH_ROW}
    ) AS run
    ORDER BY run_id
    ON CONFLICT (run_id, process) DO UPDATE SET until = excluded.until
    RETURNING run_id, xmax = 0 AS new
)
SELECT pg_notify('chatserver_' || replace(r.owner::text, '-', ''), 'run ' || told.run_id)::text
FROM told CROSS JOIN LATERAL (SELECT owner FROM chat_runs WHERE id = told.run_id {FOR_EACH_ROW}) AS r
WHERE told.new
"""  # noqa: S608 (only constants are put in)

# What is locked is being removed with the end of its run.
_UNFOLLOW = f"""
WITH left_behind AS MATERIALIZED (
    SELECT run_id, process FROM chat_followers WHERE run_id = ANY (%(runs)s::uuid[]) AND process = %(process)s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM chat_followers AS f USING left_behind AS l WHERE f.run_id = l.run_id AND f.process = l.process
    RETURNING f.run_id
)
SELECT pg_notify('chatserver_' || replace(r.owner::text, '-', ''), 'run ' || gone.run_id)::text
FROM gone CROSS JOIN LATERAL (
    SELECT owner FROM chat_runs WHERE id = gone.run_id AND status || '' = 'active' {FOR_EACH_ROW}
) AS r
"""  # noqa: S608 (only constants are put in)

_LOOK = f"""
WITH asked AS (
    SELECT * FROM unnest(%(runs)s::uuid[], %(epochs)s::int[], %(seqs)s::int[]) AS asked (run_id, epoch, seq)
)
SELECT asked.run_id, r.owner, r.epoch, f.seq, f.events, f.body
FROM asked CROSS JOIN LATERAL (
    SELECT owner, epoch FROM chat_runs AS run
    WHERE run.id = asked.run_id AND run.status || '' = 'active' AND run.lease_until > clock_timestamp()
    {FOR_EACH_ROW}
) AS r
LEFT JOIN LATERAL (
    SELECT seq, events, body FROM chat_frames AS frames
    WHERE frames.run_id = asked.run_id AND frames.epoch = r.epoch
        AND frames.seq > CASE WHEN r.epoch = asked.epoch THEN asked.seq ELSE 0 END
    ORDER BY frames.seq LIMIT {ROWS_OF_A_LOOK}
) AS f ON true
ORDER BY asked.run_id, f.seq
"""  # noqa: S608 (only constants are put in)


def write(connection: Connection, owner: UUID, channel: str, rows: Sequence[FrameRow]) -> list[UUID]:
    """Write events of `owner`'s runs, and tell `channel` of their runs.

    Rows of runs that are not its own in that epoch are left out. So are those that others should precede which are not
    there: the runs of these are returned.
    """
    starts: dict[UUID, int] = {}
    for row in rows:
        starts.setdefault(row.run_id, row.after)
    parameters = {
        "runs": array(row.run_id for row in rows),
        "epochs": array(row.epoch for row in rows),
        "starts": array(starts[row.run_id] for row in rows),
        "afters": array(row.after for row in rows),
        "seqs": array(row.seq for row in rows),
        "bodies": [row.body for row in rows],
        "owner": owner,
        "channel": channel,
        "payload": _payload(starts),
    }
    return [row.run_id for row in execute(connection, _WRITE, parameters) if row.run_id is not None]


def tell(connection: Connection, channel: str, run_ids: Collection[UUID]) -> None:
    """Tell `channel` that something happened to these runs."""
    execute(connection, _TELL, {"channel": channel, "payload": _payload(run_ids)})


def _payload(run_ids: Collection[UUID]) -> str:
    """The names of runs; nothing, which means any run, if they are too many."""
    payload = " ".join(run_id.hex for run_id in run_ids)
    return payload if len(payload) <= PAYLOAD_CHARS else ""


def follow(connection: Connection, process: UUID, run_ids: Iterable[UUID]) -> None:
    """This process has readers of these runs, for FOLLOWED_SECONDS. Owners are told of those that are new."""
    execute(connection, _FOLLOW, {"process": process, "runs": array(run_ids)})


def unfollow(connection: Connection, process: UUID, run_ids: Iterable[UUID]) -> None:
    """This process has no readers of these runs any more. Their owners are told."""
    execute(connection, _UNFOLLOW, {"process": process, "runs": array(run_ids)})


def look(connection: Connection, run_ids: Sequence[UUID], epochs: Sequence[int], seqs: Sequence[int]) -> Sequence[Any]:
    """Rows of `run_id owner epoch seq events body`: of runs that a process generates, and holds the lease of.

    With events behind number `seqs` if the run is still in its epoch of `epochs`, else behind 0; ROWS_OF_A_LOOK rows of
    a run at most. A run without further events has one row, whose `seq` is None.
    """
    return execute(connection, _LOOK, {"runs": array(run_ids), "epochs": array(epochs), "seqs": array(seqs)})
