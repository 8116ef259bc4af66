"""What older versions superseded together, and where it stood.

Their rewinds gave each message a time of its own, and no place. Nothing was said while one of them went on, so what was
superseded after the same newest message belongs together: it was live together, whether one rewind superseded it or
several. It followed the last message that stayed live.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Connection, Uuid, bindparam, column, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from chatserver.storage.tables import Moment, messages

_UNPLACED = (
    select(messages.c.id)
    .where(
        messages.c.conversation_id == bindparam("conversation"),
        messages.c.superseded_at.is_not(None),
        messages.c.superseded_after.is_(None),
    )
    .limit(1)
)
_ALL = select(
    messages.c.id,
    messages.c.position,
    messages.c.reply_to,
    messages.c.created_at,
    messages.c.superseded_at,
    messages.c.superseded_after,
).where(messages.c.conversation_id == bindparam("conversation"))


def _place() -> Any:
    types: dict[str, Any] = {"message": Uuid, "at": Moment, "after": BigInteger}
    given = [bindparam(name, type_=ARRAY(each)) for name, each in types.items()]
    columns = [column(name, each) for name, each in types.items()]
    found = func.unnest(*given).table_valued(*columns, name="found").render_derived()
    return (
        update(messages)
        .where(messages.c.id == found.c.message)
        .values(superseded_at=found.c.at, superseded_after=found.c.after)
    )


_PLACE = _place()


class _Event(NamedTuple):
    """A message was said, or superseded. In the order of events; at the same time, it was said first."""

    at: datetime
    superseded: bool
    unplaced: bool
    place: tuple[int, int]
    """Where the message is read, and its position."""
    id: UUID


@dataclass(slots=True)
class _Group:
    """What was superseded after the same newest message."""

    begins: tuple[int, int]
    at: datetime
    after: int = 0
    ids: list[UUID] = field(default_factory=list)


def find_places(connection: Connection, conversation_id: UUID) -> None:
    """Find out what older versions superseded together, and where it was; the conversation must be locked."""
    named = {"conversation": conversation_id}
    if connection.execute(_UNPLACED, named).first() is None:
        return
    groups = _groups(_events(connection.execute(_ALL, named).all()))
    found = [(each, group.at, group.after) for group in groups for each in group.ids]
    connection.execute(_PLACE, dict(zip(("message", "at", "after"), map(list, zip(*found, strict=True)), strict=True)))


def _events(rows: Sequence[Any]) -> list[_Event]:
    positions = {row.id: row.position for row in rows}
    events = []
    for row in rows:
        place = (positions.get(row.reply_to, row.position), row.position)
        events.append(_Event(row.created_at, False, False, place, row.id))
        if row.superseded_at is not None:
            events.append(_Event(row.superseded_at, True, row.superseded_after is None, place, row.id))
    return sorted(events)


def _groups(events: Iterable[_Event]) -> Iterable[_Group]:
    groups: dict[int, _Group] = {}
    live: list[tuple[int, int]] = []  # in reading order
    newest = 0
    for event in events:
        if not event.superseded:
            insort(live, event.place)
            newest = max(newest, event.place[1])
            continue
        index = bisect_left(live, event.place)
        if live[index : index + 1] == [event.place]:
            del live[index]
        if event.unplaced:
            group = groups.setdefault(newest, _Group(event.place, event.at))
            group.begins, group.at = min(group.begins, event.place), event.at
            group.ids.append(event.id)
            before = bisect_left(live, group.begins)
            group.after = live[before - 1][1] if before else 0
    return groups.values()
