"""Ids are ordered by time."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

import pytest

from chatserver.ids import uuid7


def test_id_is_a_version_7_uuid_of_now() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= made.int >> 80 <= after
    assert UUID(str(made)) == made


def test_ids_are_unique() -> None:
    assert len({uuid7() for _ in range(10_000)}) == 10_000


def test_later_ids_are_greater(monkeypatch: pytest.MonkeyPatch) -> None:
    """Precise to a quarter of a microsecond, which the bits after the milliseconds hold."""
    now = 1_700_000_000_123_000_000
    made = []
    for nanoseconds in (0, 250, 1_000, 999_000, 999_999, 1_000_000, 10**9, 10**18):
        monkeypatch.setattr(time, "time_ns", lambda moment=now + nanoseconds: moment)
        made.append(uuid7())
    assert made == sorted(made)
    assert len({each.int >> 62 for each in made}) == len(made)
    assert {(each.version, each.variant) for each in made} == {(7, RFC_4122)}
