"""Restore: what was superseded together is live again, and what stands in its place is superseded.

What is superseded together (a group) follows the message that was rewound to, its place. If the place is superseded
itself, it belongs to a group with a place of its own, and so on to a place that is live: each of these groups is
restored up to the place of the next one. What such a group has after that place, and what is live after the last place,
becomes a group there. So nothing is lost, and all can be restored again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Connection, Uuid, bindparam, case, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from chatserver.errors import NotFoundError
from chatserver.storage.older_rewinds import find_places
from chatserver.storage.revisions import bring_back
from chatserver.storage.rewind import end_runs, lock, require_idle, supersede
from chatserver.storage.scope import Companies
from chatserver.storage.tables import Moment, conversations, messages, runs

_FIND_TARGET = select(messages.c.id).where(
    messages.c.conversation_id == bindparam("conversation"),
    messages.c.id == bindparam("message", type_=messages.c.id.type),
    messages.c.superseded_at.is_not(None),
)

# Where a message stands in the reading order of whatever version it belongs to: an answer is there where its question
# is. `storage/reading_order.py` has the order of live messages.
STANDS_AT = """
coalesce((SELECT asked.position FROM chat_messages AS asked WHERE asked.id = m.reply_to), m.position)
"""

# The groups from that of the message outwards. `place…` is the message that the group follows, NULL if it follows none.
_CHAIN = text(
    f"""
WITH RECURSIVE chain AS (
    SELECT 1 AS level, m.superseded_at, m.superseded_after AS place FROM chat_messages AS m WHERE m.id = :message
    UNION ALL
    SELECT level + 1, outer_place.superseded_at, outer_place.superseded_after
    FROM chain JOIN chat_messages AS outer_place
        ON outer_place.conversation_id = :conversation AND outer_place.position = chain.place
    WHERE outer_place.superseded_at IS NOT NULL
)
SELECT chain.superseded_at, m.id AS place_id, m.position AS place_position, {STANDS_AT} AS place_stands_at
FROM chain LEFT JOIN chat_messages AS m ON m.conversation_id = :conversation AND m.position = chain.place
ORDER BY level
"""  # noqa: S608 (only constants are put in)
).bindparams(bindparam("conversation", type_=Uuid()), bindparam("message", type_=Uuid()))

# A group is live again up to its cut. The rest of it has its place there, and a time of its own.
_RESTORE = text(
    f"""
WITH changed AS (
    UPDATE chat_messages AS m SET (superseded_at, superseded_after) = (
        SELECT CASE WHEN restored THEN NULL ELSE chain.rest_at END, CASE WHEN restored THEN NULL ELSE chain.cut END
        FROM (SELECT chain.cut IS NULL OR ({STANDS_AT}, m.position) <= (chain.cut_stands_at, chain.cut) AS restored)
    )
    FROM unnest(:times, :places, :cuts, :cuts_stand_at, :rests_at)
        AS chain (superseded_at, place_id, cut, cut_stands_at, rest_at)
    WHERE m.conversation_id = :conversation AND m.superseded_at = chain.superseded_at
    RETURNING m.id, m.superseded_at IS NULL AS restored, m.reply_to = chain.place_id AS answers_place
)
SELECT count(*) AS restored, array_agg(id) FILTER (WHERE answers_place) AS answers FROM changed WHERE restored
"""  # noqa: S608 (only constants are put in)
).bindparams(
    bindparam("conversation", type_=Uuid()),
    bindparam("times", type_=ARRAY(Moment)),
    bindparam("places", type_=ARRAY(Uuid)),
    bindparam("cuts", type_=ARRAY(BigInteger)),
    bindparam("cuts_stand_at", type_=ARRAY(BigInteger)),
    bindparam("rests_at", type_=ARRAY(Moment)),
)

_MOVE = (
    update(conversations)
    .where(conversations.c.id == bindparam("conversation", type_=Uuid()))
    .values(updated_at=bindparam("at", type_=Moment))
)

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
    chain = connection.execute(_CHAIN, {**named, "message": message_id}).all()
    times = [at + number * timedelta(milliseconds=1) for number in range(len(chain))]
    root = {"target_stands_at": chain[-1].place_stands_at or 0, "target_position": chain[-1].place_position or 0}
    superseded = supersede(connection, conversation_id, root, times[0])
    groups = {
        "times": [group.superseded_at for group in chain],
        "places": [group.place_id for group in chain],
        # Each group is cut at the place of the one within; that of the message is restored whole.
        "cuts": [None, *(group.place_position for group in chain[:-1])],
        "cuts_stand_at": [None, *(group.place_stands_at for group in chain[:-1])],
        "rests_at": times,
    }
    row = connection.execute(_RESTORE, {**named, **groups}).one()
    if len(times) > 1:
        connection.execute(_MOVE, {**named, "at": times[-1]})
    end_runs(connection, conversation_id)
    connection.execute(_REVIVE_RUNS, named)
    bring_back(connection, conversation_id, row.answers or [], times)
    return Restored(row.restored, superseded)
