"""Rows that hold a whole message and its whole conversation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row

from chatserver.storage.conversations import RUN_COLUMNS
from chatserver.storage.tables import conversations, messages

COLUMNS = (*messages.c, *conversations.c, *RUN_COLUMNS)


def has_message(row: Row[Any]) -> bool:
    return row._mapping[messages.c.id] is not None


def message_of(row: Row[Any]) -> Any:
    """The message of a row with all of `COLUMNS`, like a row of `storage.messages`."""
    return SimpleNamespace(**{column.name: row._mapping[column] for column in messages.c})


def conversation_of(row: Row[Any]) -> Any:
    """The conversation of a row with all of `COLUMNS`, like a row of `storage.conversations`."""
    conversation = {column.name: row._mapping[column] for column in conversations.c}
    return SimpleNamespace(**conversation, **{column.name: row._mapping[column] for column in RUN_COLUMNS})
