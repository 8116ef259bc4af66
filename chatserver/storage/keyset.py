"""Keyset pagination: the order of a list, and opaque cursors that say where a page ended.

A cursor is bound to its list and to the filters of the list.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Row, bindparam, tuple_
from sqlalchemy.types import TypeEngine

from chatserver.errors import Problem, ValidationError

MAX_CURSOR_CHARS = 512

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_BIGINT = 2**63 - 1

Key = bool | int | datetime | UUID
"""A value of a column that a list is ordered by."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One page of a list, as rows. `next_cursor` None: nothing follows."""

    rows: Sequence[Row[Any]]
    next_cursor: str | None


class ListOrder:
    """The order of a list, and with it everything that its pages need.

    `kind` names the list in cursors. `columns` are the names of the values that it is ordered by, with their types;
    together they are unique. All are ascending, or all `descending`. `prefix` begins the names of the parameters.
    """

    def __init__(self, kind: str, *, descending: bool = False, prefix: str = "after", **columns: type[Key]) -> None:
        self._kind = kind
        self._descending = descending
        self._prefix = prefix
        self._columns = columns

    @property
    def types(self) -> tuple[type[Key], ...]:
        """The types of a key's values."""
        return tuple(self._columns.values())

    def by(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """The ORDER BY; `columns` are the SQL of the order's columns."""
        return [column.desc() if self._descending else column.asc() for column in columns]

    def after(self, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
        """The criterion for rows that follow the key in the parameters."""
        row, key = tuple_(*columns), self._key(columns)
        return row < key if self._descending else row > key

    def at_or_after(self, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
        """The criterion for rows that follow the key in the parameters, and for the row of that key."""
        row, key = tuple_(*columns), self._key(columns)
        return row <= key if self._descending else row >= key

    def parameters(self, key: Sequence[Key]) -> dict[str, Any]:
        """The parameters of `after` and `at_or_after`."""
        return {f"{self._prefix}_{name}": value for name, value in zip(self._columns, key, strict=True)}

    def resume(self, filters: Sequence[object], cursor: str | None) -> dict[str, Any]:
        """The parameters for the key in a cursor; empty without a cursor.

        Raises ValidationError (path `cursor`) for a cursor of another list, or of other filters.
        """
        if cursor is None:
            return {}
        return self.parameters(decode(self._kind, filters, cursor, self.types))

    def cut(self, rows: Sequence[Row[Any]], limit: int, filters: Sequence[object]) -> Slice:
        """The page in `rows`, of which one more than `limit` was fetched to see whether others follow."""
        return self.slice(rows[:limit], filters, followed=len(rows) > limit)

    def slice(self, rows: Sequence[Row[Any]], filters: Sequence[object], *, followed: bool) -> Slice:
        """The page of these rows. `followed`: whether others follow."""
        if not followed:
            return Slice(rows, None)
        return Slice(rows, encode(self._kind, filters, [getattr(rows[-1], name) for name in self._columns]))

    def _key(self, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
        # Compared with the whole row: so PostgreSQL can begin to read an index at the key.
        named = zip(self._columns.items(), columns, strict=True)
        return tuple_(
            *(bindparam(f"{self._prefix}_{name}", type_=_type(kind, column)) for (name, kind), column in named)
        )


def _type(kind: type[Key], column: ColumnElement[Any]) -> TypeEngine[Any]:
    """The type of a parameter: a number of a forged cursor may not fit into the column."""
    return BigInteger() if kind is int else column.type


def encode(kind: str, filters: Sequence[object], key: Sequence[Key]) -> str:
    """The cursor for what follows `key` in the list `kind` with these filters."""
    values = [_write(value) for value in key]
    text = json.dumps([_digest(kind, filters), *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode(kind: str, filters: Sequence[object], cursor: str, types: Sequence[type[Key]]) -> list[Any]:
    """The key that was encoded; `types` are those of its values.

    Raises ValidationError (path `cursor`) for anything that `encode` did not make for this list and these filters.
    """
    try:
        if len(cursor) > MAX_CURSOR_CHARS:
            raise ValueError
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        digest, *values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if digest != _digest(kind, filters):
            raise ValueError
        return [_read(value, kind_of_value) for value, kind_of_value in zip(values, types, strict=True)]
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ValidationError([Problem("cursor", "is not a cursor of this list")]) from None


def _digest(kind: str, filters: Sequence[object]) -> str:
    """A short digest: it prevents mistakes, and protects nothing."""
    return sha256(json.dumps([kind, *filters], default=str).encode()).hexdigest()[:12]


def _write(value: Key) -> bool | int | str:
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MICROSECOND
    return value.hex if isinstance(value, UUID) else value


def _read(value: object, kind: type[Key]) -> Key:
    if kind is UUID and isinstance(value, str):
        return UUID(hex=value)
    if kind is bool and isinstance(value, bool):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        if kind is datetime:
            return _EPOCH + timedelta(microseconds=value)
        if kind is int and 0 <= value <= _MAX_BIGINT:
            return value
    raise ValueError
