"""Cursors are the clients' to forge: whatever stands in one, the list answers it or refuses it, and nothing fails."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from tests.web.conftest import Api
from tests.web.test_lists import LISTS, filled

YEAR_1, YEAR_9999 = -62_135_596_800_000_000, 253_402_300_799_999_999  # in microseconds since 1970

ODD_VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 7, 2**15, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**60),
    *(YEAR_1, YEAR_1 - 1, YEAR_9999, YEAR_9999 + 1),
    *(0.0, 1.5, -1e308, float("nan"), float("inf"), True, False, None),
    *("", "0", "x", "\x00", "\ud800", "é", "2026-01-01T00:00:00Z", "0" * 32, "f" * 32, "F" * 32, "{" + "0" * 32 + "}"),
    *([], [0], {}, {"a": 1}, [[[[]]]]),
)
ODD_TEXTS = (
    "",
    " ",
    "%00",
    "%FF",
    "e30",
    "bnVsbA",
    "W10",
    "MQ",
    "=",
    "A" * 511,
    "A" * 8_000,
    "%F0%9F%A6%8A",
    "'",
    "[]",
)


def encoded(values: list[Any]) -> str:
    text = json.dumps(values, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decoded(cursor: str) -> list[Any]:
    values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    assert isinstance(values, list)
    return values


def forged(cursor: str) -> Iterator[str]:
    """The cursor with other values behind its digest: one at a time, then several."""
    digest, *values = decoded(cursor)
    for place in range(len(values)):
        for odd in ODD_VALUES:
            yield encoded([digest, *values[:place], odd, *values[place + 1 :]])
    chosen = random.Random(1)
    for _ in range(100):
        yield encoded([digest, *chosen.choices(ODD_VALUES, k=len(values))])
    yield from (encoded(each) for each in ([digest], [], [digest, *values[:-1]], [digest, *values, 0], [values]))
    yield encoded([odd for odd in ODD_VALUES if isinstance(odd, str)])


async def paths_of_lists(api: Api) -> Mapping[str, str]:
    """The path of each list by that of its route; one item fits on its page."""
    paths = {route: f"{path}{'&' if '?' in path else '?'}limit=1" for route, path in (await filled(api)).items()}
    assert set(paths) == LISTS
    return paths


@pytest.mark.parametrize("route", sorted(LISTS))
async def test_forged_cursor_is_answered_or_refused(api: Api, route: str, caplog: pytest.LogCaptureFixture) -> None:
    path = (await paths_of_lists(api))[route]
    cursor = (await api.get(path)).json["nextCursor"]
    assert cursor is not None
    statuses = []
    for each in (*forged(cursor), *ODD_TEXTS):
        text = quote(each, safe="%")
        answer = await api.get(f"{path}&cursor={text}")
        if answer.status == 400:
            assert answer.wrong == ["cursor"], each
        else:
            assert answer.status == 200, each
        statuses.append(answer.status)
    assert statuses.count(400) > len(statuses) / 2
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("route", sorted(LISTS))
async def test_cursor_of_each_other_list_is_refused(api: Api, route: str) -> None:
    paths = await paths_of_lists(api)
    for other, path in paths.items():
        cursor = (await api.get(path)).json["nextCursor"]
        answer = await api.get(f"{paths[route]}&cursor={cursor}")
        if other == route:
            assert answer.status == 200
        else:
            assert answer.wrong == ["cursor"], other
