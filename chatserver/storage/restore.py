"""Restore: what was superseded together is live again, and what stands in its place is superseded.

What is superseded together (a group) follows the message that was rewound to, its place. If the place is superseded
itself, it belongs to a group with a place of its own, and so on to a place that is live: each of these groups is
restored up to the place of the next one. What such a group has after that place, and what is live after the last place,
becomes a group there. So nothing is lost, and all can be restored again.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Uuid, bindparam, case, literal_column, select, text, update

from chatserver.errors import NotFoundError
from chatserver.storage.revisions import bring_back
from chatserver.storage.rewind import end_runs, lock, require_idle
from chatserver.storage.scope import Companies
from chatserver.storage.tables import Moment, messages, runs

_FIND_TARGET = select(messages.c.id).where(
    messages.c.conversation_id == bindparam("conversation"),
    messages.c.id == bindparam("message", type_=messages.c.id.type),
    messages.c.superseded_at.is_not(None),
)

# Where a message stands in the reading order of whatever version it belongs to: an answer is there where its question
# is. `storage/reading_order.py` has the order of live messages.
_STANDS_AT = """
coalesce((SELECT asked.position FROM chat_messages AS asked WHERE asked.id = m.reply_to), m.position)
"""

# all -> chain (the groups from that of the message outwards) -> root (the place that is live) -> changes -> changed
_RESTORE = text(
    f"""
WITH RECURSIVE all_messages AS MATERIALIZED (
    SELECT m.id, m.position, {_STANDS_AT} AS stands_at, m.reply_to, m.superseded_at, m.superseded_after
    FROM chat_messages AS m WHERE m.conversation_id = :conversation
), chain AS (
    SELECT 1 AS level, superseded_at, superseded_after AS place, NULL::bigint AS cut_at, NULL::bigint AS cut_position
    FROM all_messages WHERE id = :message AND superseded_at IS NOT NULL
    UNION ALL
    SELECT level + 1, outer_place.superseded_at, outer_place.superseded_after, outer_place.stands_at,
        outer_place.position
    FROM chain JOIN all_messages AS outer_place ON outer_place.position = chain.place
    WHERE outer_place.superseded_at IS NOT NULL
), root AS (
    SELECT level, place, coalesce(stands_at, 0) AS cut_at, coalesce(position, 0) AS cut_position
    FROM chain LEFT JOIN all_messages ON position = place
    ORDER BY level DESC LIMIT 1
), changes AS (
    -- A group is restored up to its cut; the rest of it has its place there.
    SELECT m.id, m.reply_to, level - 1 AS level, chain.place AS follows, chain.cut_position AS place,
        chain.cut_position IS NULL OR (m.stands_at, m.position) <= (chain.cut_at, chain.cut_position) AS restored
    FROM chain JOIN all_messages AS m ON m.superseded_at = chain.superseded_at
    UNION ALL
    SELECT m.id, m.reply_to, root.level, NULL, root.place, false
    FROM root JOIN all_messages AS m ON m.superseded_at IS NULL
        AND (m.stands_at, m.position) > (root.cut_at, root.cut_position)
), changed AS (
    UPDATE chat_messages AS m SET
        superseded_after = CASE WHEN changes.restored THEN NULL ELSE changes.place END,
        -- Each group has a time of its own.
        superseded_at = CASE WHEN changes.restored THEN NULL
            ELSE :at + (root.level - changes.level) * interval '1 ms' END
    FROM changes CROSS JOIN root WHERE m.id = changes.id
)
SELECT count(*) FILTER (WHERE restored) AS restored,
    count(*) FILTER (WHERE NOT restored AND changes.level = root.level) AS superseded,
    (max(root.level) - 1) * interval '1 ms' AS later,
    array_agg(changes.id) FILTER (WHERE restored AND changes.reply_to = place.id) AS answers
FROM changes CROSS JOIN root LEFT JOIN all_messages AS place ON place.position = changes.follows
"""  # noqa: S608 (only constants are put in)
).bindparams(bindparam("conversation", type_=Uuid()), bindparam("message", type_=Uuid()), bindparam("at", type_=Moment))

_MOVE = text("UPDATE chat_conversations SET updated_at = :at + :later WHERE id = :conversation")

_REVIVE_RUNS = (
    update(runs)
    .where(
        runs.c.conversation_id == bindparam("conversation", type_=Uuid()),
        runs.c.status == literal_column("'superseded'"),
        runs.c.answer_message_id == messages.c.id,
        messages.c.superseded_at.is_(None),
    )
    .values(
        status=case((messages.c.status == literal_column("'stopped'"), literal_column("'kept'")), else_="completed")
    )
)

# Rewinds of older versions gave each message a time of its own, and no place. Nothing was said while one of them went
# on, so what was superseded after the same newest message belongs together: it was live together, whether one rewind
# superseded it or several. It followed the last message that stayed live.
_FIND_PLACES = text(
    f"""
WITH all_messages AS MATERIALIZED (
    SELECT m.id, m.position, {_STANDS_AT} AS stands_at, m.created_at, m.superseded_at,
        m.superseded_at IS NOT NULL AND m.superseded_after IS NULL AS unplaced
    FROM chat_messages AS m WHERE m.conversation_id = :conversation
), events AS (
    SELECT id, position, created_at AS at, false AS superseded FROM all_messages
    UNION ALL
    SELECT id, 0, superseded_at, true FROM all_messages WHERE unplaced
), dated AS (
    SELECT id, superseded, max(position) OVER (ORDER BY at, superseded) AS newest FROM events
), grouped AS (
    SELECT m.*, dated.newest FROM dated JOIN all_messages AS m USING (id) WHERE dated.superseded
), groups AS (
    SELECT newest, max(superseded_at) AS superseded_at, min((stands_at, position)) AS begins
    FROM grouped GROUP BY newest
)
UPDATE chat_messages AS m SET superseded_at = groups.superseded_at, superseded_after = coalesce((
    SELECT before.position FROM all_messages AS before
    WHERE before.position <= groups.newest AND (before.stands_at, before.position) < groups.begins
        AND (before.superseded_at IS NULL OR before.superseded_at > groups.superseded_at)
    ORDER BY before.stands_at DESC, before.position DESC LIMIT 1
), 0)
FROM groups JOIN grouped USING (newest) WHERE m.id = grouped.id
"""  # noqa: S608 (only constants are put in)
).bindparams(bindparam("conversation", type_=Uuid()))


class Restored(NamedTuple):
    """How many messages are live again, and how many were superseded in exchange."""

    restored: int
    superseded: int


def restore(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> Restored:
    """Make a superseded message live again, with what was superseded together with it.

    Raises NotFoundError if the conversation has no such superseded message, and ConflictError while an answer is being
    generated in it.
    """
    named = {"conversation": conversation_id}
    at = lock(connection, companies, conversation_id)
    if connection.execute(_FIND_TARGET, {**named, "message": message_id}).first() is None:
        raise NotFoundError("Message not found")
    require_idle(connection, conversation_id)
    find_places(connection, conversation_id)
    row = connection.execute(_RESTORE, {**named, "message": message_id, "at": at}).one()
    if row.later:
        connection.execute(_MOVE, {**named, "at": at, "later": row.later})
    end_runs(connection, conversation_id)
    connection.execute(_REVIVE_RUNS, named)
    bring_back(connection, conversation_id, row.answers or [])
    return Restored(row.restored, row.superseded)


def find_places(connection: Connection, conversation_id: UUID) -> None:
    """Find out what older versions superseded together, and where it was; the conversation must be locked."""
    connection.execute(_FIND_PLACES, {"conversation": conversation_id})
