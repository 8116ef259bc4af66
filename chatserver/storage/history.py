"""What a model reads before a question: the newest messages that fit, in reading order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, Subquery, bindparam, func, select

from chatserver.storage.messages import effective_content, live
from chatserver.storage.reading_order import stands_at
from chatserver.storage.tables import messages

# The most bytes of a character in UTF-8.
BYTES_PER_CHAR = 4


def _read_before() -> Select[Any]:
    """The statement sums lengths from the newest message back, and stops where they exceed the bound.

    A text's length in bytes is known without reading the text; its length in characters is not. So the first sum
    leaves out by bytes what cannot fit by any means, and only what is left is read.
    """
    max_chars = bindparam("max_chars", type_=BigInteger)
    trigger = select(messages.c.position).where(messages.c.id == bindparam("trigger_id", type_=messages.c.id.type))
    before = (
        select(
            messages.c.id,
            stands_at().label("stands_at"),
            messages.c.position,
            func.octet_length(effective_content()).label("octets"),
        )
        .where(messages.c.conversation_id == bindparam("conversation_id"), live())
        # The trigger's own answers stand at its position, too.
        .where(stands_at() < trigger.scalar_subquery())
        .subquery("before")
    )
    summed = select(before, _sum_from_the_newest(before.c.octets, before).label("octets_so_far")).subquery("summed")
    near = select(summed).where(summed.c.octets_so_far - summed.c.octets <= BYTES_PER_CHAR * max_chars).subquery("near")
    texts = (
        select(
            messages.c.role,
            effective_content().label("content"),
            near.c.stands_at,
            near.c.position,
            _sum_from_the_newest(func.char_length(effective_content()), near).label("chars_so_far"),
        )
        .join_from(near, messages, messages.c.id == near.c.id)
        .subquery("texts")
    )
    return (
        select(texts.c.role, texts.c.content)
        .where(texts.c.chars_so_far <= max_chars)
        .order_by(texts.c.stands_at, texts.c.position)
    )


def _sum_from_the_newest(length: ColumnElement[int], rows: Subquery) -> ColumnElement[int]:
    """The sum of `length` over a row and all that are newer in reading order."""
    return func.sum(length).over(order_by=(rows.c.stands_at.desc(), rows.c.position.desc()), rows=(None, 0))


_READ_BEFORE = _read_before()


def read_before(
    connection: Connection, conversation_id: UUID, trigger_id: UUID, *, max_chars: int
) -> Sequence[Row[Any]]:
    """Rows of `role content`: the live messages before a message, the newest that fit into `max_chars` characters.

    Messages are whole; the first one that does not fit is left out with all that are older. Messages of white space
    are left out.
    """
    parameters = {"conversation_id": conversation_id, "trigger_id": trigger_id, "max_chars": max_chars}
    return [row for row in connection.execute(_READ_BEFORE, parameters) if row.content.strip()]
