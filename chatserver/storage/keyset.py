"""Opaque cursors of keyset-paginated lists: where a page ended, bound to the list and the filters it was cut from."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from chatserver.errors import Problem, ValidationError

MAX_CURSOR_CHARS = 512

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_BIGINT = 2**63 - 1

Key = bool | int | datetime | UUID
"""What a list is ordered by: one value per column."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One page of a list, as rows; `next_cursor` is None where nothing follows."""

    rows: Sequence[Row[Any]]
    next_cursor: str | None


def encode(kind: str, filters: Sequence[object], key: Sequence[Key]) -> str:
    """The cursor for what follows `key` in the list `kind` under these filters."""
    values = [_write(value) for value in key]
    text = json.dumps([_digest(kind, filters), *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode(kind: str, filters: Sequence[object], cursor: str, types: Sequence[type[Key]]) -> list[Any]:
    """The key that `encode` was given; `types` are those of its values.

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


def cut(rows: Sequence[Row[Any]], limit: int, kind: str, filters: Sequence[object], columns: Sequence[str]) -> Slice:
    """The page in `rows`, which were fetched with one more than `limit` to see whether more follow."""
    if len(rows) <= limit:
        return Slice(rows, None)
    rows = rows[:limit]
    key = [getattr(rows[-1], column) for column in columns]
    return Slice(rows, encode(kind, filters, key))


def _digest(kind: str, filters: Sequence[object]) -> str:
    """Short: it keeps a cursor from being used by mistake; it protects nothing."""
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
