"""Rows that hold a whole message and its whole conversation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row

from chatserver.storage.conversations import RUN_COLUMNS
from chatserver.storage.messages import failure_of
from chatserver.storage.tables import conversations, messages

_FAILURE = failure_of(messages)
COLUMNS = (*messages.c, _FAILURE, *conversations.c, *RUN_COLUMNS)


def has_message(row: Row[Any]) -> bool:
    return row._mapping[messages.c.id] is not None


def message_of(row: Row[Any]) -> Any:
    """The message of a row with all of `COLUMNS`, like a row of `storage.messages`."""
    return SimpleNamespace(**{column.name: row._mapping[column] for column in (*messages.c, _FAILURE)})


def conversation_of(row: Row[Any]) -> Any:
    """The conversation of a row with all of `COLUMNS`, like a row of `storage.conversations`."""
    conversation = {column.name: row._mapping[column] for column in conversations.c}
    return SimpleNamespace(**conversation, **{column.name: row._mapping[column] for column in RUN_COLUMNS})
