"""The order in which the messages of a conversation are read, and the messages before and after one of them.

An answer stands directly after the message that it answers, even if another message was added before the answer was
finished. All other messages stand in the order of writing.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, tuple_

from chatserver.errors import NotFoundError
from chatserver.storage.messages import live
from chatserver.storage.tables import messages

_NAMES = ("stands_at", "position")
_asked = messages.alias("asked")


def stands_at() -> ColumnElement[int]:
    """The position of the live message that a message answers, or else its own position."""
    asked = select(_asked.c.position).where(_asked.c.id == messages.c.reply_to, _asked.c.superseded_at.is_(None))
    return func.coalesce(asked.scalar_subquery(), messages.c.position)


_PLACE = (stands_at(), messages.c.position)
_TARGET_PLACE = tuple(bindparam(f"target_{name}", type_=messages.c.position.type) for name in _NAMES)
_FIND_TARGET = select(
    *(column.label(f"target_{name}") for column, name in zip(_PLACE, _NAMES, strict=True)),
).where(
    messages.c.conversation_id == bindparam("conversation"),
    messages.c.id == bindparam("message", type_=messages.c.id.type),
    live(),
)


def after_target() -> ColumnElement[bool]:
    """True for messages that are read after the target, whose place is in the statement's parameters."""
    # Nothing is written before the message that it answers: the first condition lets the index be used.
    return (messages.c.position > _TARGET_PLACE[0]) & (tuple_(*_PLACE) > tuple_(*_TARGET_PLACE))


def up_to_target() -> ColumnElement[bool]:
    """True for the target and the messages that are read before it."""
    return tuple_(*_PLACE) <= tuple_(*_TARGET_PLACE)


def place_of_target(connection: Connection, conversation_id: UUID, message_id: UUID) -> dict[str, Any]:
    """The parameters of `after_target` and `up_to_target` for a live message of the conversation.

    Raises NotFoundError if the conversation has no such message.
    """
    named = {"conversation": conversation_id, "message": message_id}
    target = connection.execute(_FIND_TARGET, named).one_or_none()
    if target is None:
        raise NotFoundError("Message not found")
    return dict(target._mapping)
