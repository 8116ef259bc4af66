"""The queue of a conversation: the places of answers that wait for others, of all processes.

Places are given out under the row lock of the conversation. A place counts until `until`, which its process moves on;
so the places of a process that died are lost after PLACE_SECONDS. The table may be empty after a crash of PostgreSQL:
processes put their places back, with the numbers that they had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Row,
    Update,
    Uuid,
    any_,
    bindparam,
    cast,
    delete,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as pg_insert

from chatserver.storage.sharing_tables import waiting

PLACE_SECONDS = 3
"""How long a place is held without being renewed; processes renew their places every second."""

_NOW = func.clock_timestamp()
_UNTIL = _NOW + literal_column(f"interval '{PLACE_SECONDS} seconds'")
_HOLDS = waiting.c.until > _NOW
_OF_TRIGGER = waiting.c.trigger_message_id.is_not_distinct_from(bindparam("of_trigger", type_=Uuid))
_ELSEWHERE = waiting.c.process != bindparam("here", type_=Uuid)
# Later than all places that were given out before, also where the table was emptied since.
_MICROSECONDS = cast(func.extract("epoch", _NOW) * 1_000_000, BigInteger)


def told(process: ColumnElement[Any], message: ColumnElement[Any]) -> ColumnElement[Any]:
    """Hints to a process, when the transaction is committed, that there is something to look at."""
    return func.pg_notify(func.concat("chatserver_", func.replace(func.concat(process), "-", "")), message)


class Queue(NamedTuple):
    """The places of a conversation. None: there are none.

    `same`: the lowest of those of the same trigger, and `same_elsewhere` without those of this process. `others`: the
    lowest of the other triggers, at other processes. `first`, `last`: the lowest and the highest of all.
    """

    same: int | None
    same_elsewhere: int | None
    others: int | None
    first: int | None
    last: int | None


_QUEUE = select(
    func.min(waiting.c.place).filter(_OF_TRIGGER),
    func.min(waiting.c.place).filter(_OF_TRIGGER, _ELSEWHERE),
    func.min(waiting.c.place).filter(~_OF_TRIGGER, _ELSEWHERE),
    func.min(waiting.c.place),
    func.max(waiting.c.place),
).where(waiting.c.conversation_id == bindparam("in_conversation"), _HOLDS)


def queue_of(connection: Connection, conversation_id: UUID, trigger_id: UUID | None, process: UUID) -> Queue:
    """The places of a conversation, as `process` sees them that asks for the answer to a trigger."""
    named = {"in_conversation": conversation_id, "of_trigger": trigger_id, "here": process}
    return Queue(*connection.execute(_QUEUE, named).one())


_put = pg_insert(waiting).values(
    id=bindparam("place_id"),
    conversation_id=bindparam("in_conversation"),
    place=func.coalesce(
        bindparam("number", type_=BigInteger), func.greatest(bindparam("after", type_=BigInteger) + 1, _MICROSECONDS)
    ),
    trigger_message_id=bindparam("of_trigger"),
    process=bindparam("here"),
    interrupts=bindparam("interrupting"),
    until=_UNTIL,
)
_PUT = _put.on_conflict_do_update(index_elements=[waiting.c.id], set_={"until": _put.excluded.until}).returning(
    waiting.c.place
)


def put(
    connection: Connection,
    place_id: UUID,
    conversation_id: UUID,
    trigger_id: UUID | None,
    process: UUID,
    *,
    number: int | None = None,
    after: int | None = None,
    interrupts: bool = False,
) -> int:
    """Put an answer into the queue, or keep its place there; its number.

    `number` None: behind all others, of which `after` is the last.
    """
    place: int = connection.execute(
        _PUT,
        {
            "place_id": place_id,
            "in_conversation": conversation_id,
            "number": number,
            "after": after,
            "of_trigger": trigger_id,
            "here": process,
            "interrupting": interrupts,
        },
    ).scalar_one()
    return place


_TELL_OTHERS_BEGUN = select(told(waiting.c.process, func.concat("turn ", waiting.c.conversation_id))).where(
    waiting.c.conversation_id == bindparam("in_conversation"), _OF_TRIGGER, _ELSEWHERE, _HOLDS
)


def tell_others_begun(connection: Connection, conversation_id: UUID, trigger_id: UUID | None, process: UUID) -> None:
    """Tell the other processes that wait for this answer that it is being generated now."""
    named = {"in_conversation": conversation_id, "of_trigger": trigger_id, "here": process}
    connection.execute(_TELL_OTHERS_BEGUN, named).all()


def _stop(*which: ColumnElement[bool]) -> Update:
    """Ask the processes of these places that their answers end as stopped."""
    # In the order of their ids, so that two transactions do not deadlock.
    found = select(waiting.c.id).where(
        waiting.c.conversation_id == bindparam("in_conversation"), ~waiting.c.stopped, *which
    )
    locked = found.order_by(waiting.c.id).with_for_update().cte("locked")
    return (
        update(waiting)
        .where(waiting.c.id == locked.c.id)
        .values(stopped=literal_column("true", Boolean))
        .returning(told(waiting.c.process, func.concat("run ", waiting.c.id)))
    )


_STOP_INTERRUPTING = _stop(waiting.c.interrupts, ~_OF_TRIGGER, _ELSEWHERE)
_STOP_WAITING = _stop(_OF_TRIGGER)


def stop_interrupting(connection: Connection, conversation_id: UUID, trigger_id: UUID | None, process: UUID) -> None:
    """Ask that the answers of other processes end that wait because they interrupted; not those to this trigger."""
    named = {"in_conversation": conversation_id, "of_trigger": trigger_id, "here": process}
    connection.execute(_STOP_INTERRUPTING, named).all()


def stop_waiting(connection: Connection, conversation_id: UUID, trigger_id: UUID) -> None:
    """Ask that the answers to a trigger that wait for their turn end: it is erased."""
    connection.execute(_STOP_WAITING, {"in_conversation": conversation_id, "of_trigger": trigger_id}).all()


_HELD = (
    select(waiting.c.id)
    .where(waiting.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))))
    .order_by(waiting.c.id)
    .with_for_update()
    .cte("held")
)
_RENEW = (
    update(waiting).where(waiting.c.id == _HELD.c.id).values(until=_UNTIL).returning(waiting.c.id, waiting.c.stopped)
)


def renew(connection: Connection, place_ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Hold on to these places. Rows of `id stopped`, of those that are there."""
    return connection.execute(_RENEW, {"ids": list(place_ids)}).all()


_REMOVE = delete(waiting).where(waiting.c.id == bindparam("place_id"))


def remove(connection: Connection, place_id: UUID) -> None:
    """Give up a place: the answer does not wait any more."""
    connection.execute(_REMOVE, {"place_id": place_id})


# Whose turn it may be now: answers to one trigger at several processes have the same place.
_NEXT = """
SELECT pg_notify('chatserver_' || replace(process::text, '-', ''), 'turn ' || conversation_id) FROM (
    SELECT process, conversation_id FROM chat_queue
    WHERE conversation_id = (SELECT conversation_id FROM gone) AND id <> :place_id AND until > clock_timestamp()
    ORDER BY place FETCH FIRST 1 ROW WITH TIES
) AS next
"""
_LEAVE = text(
    f"WITH gone AS (DELETE FROM chat_queue WHERE id = :place_id RETURNING conversation_id){_NEXT}"  # noqa: S608
).bindparams(bindparam("place_id", type_=Uuid))


def leave(connection: Connection, place_id: UUID) -> None:
    """Give up a place. Those who come next are told: it may be their turn."""
    connection.execute(_LEAVE, {"place_id": place_id}).all()


_EXPIRED = delete(waiting).where(waiting.c.until < _NOW - literal_column("interval '10 seconds'"))


def remove_expired(connection: Connection) -> None:
    """Remove the places of processes that died a while ago."""
    connection.execute(_EXPIRED)
