"""Cursors: an encoded key is decoded again, and anything else is refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Uuid, column, create_engine, select, table

from chatserver.errors import ValidationError
from chatserver.storage import keyset

MOMENTS = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)


@given(st.booleans(), MOMENTS, st.uuids(), st.integers(0, 2**63 - 1), st.text(max_size=200))
def test_encoded_key_is_decoded(pinned: bool, moment: datetime, row: UUID, position: int, title: str) -> None:
    key: list[keyset.Key] = [pinned, moment, row, position]
    cursor = keyset.encode("list", (row, title, None), key)
    assert keyset.decode("list", (row, title, None), cursor, (bool, datetime, UUID, int)) == key
    assert len(cursor) <= keyset.MAX_CURSOR_CHARS
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(("kind", "filters"), [("other", (1, None)), ("list", (1,)), ("list", (2, None)), ("list", ())])
def test_cursor_of_another_list_is_refused(kind: str, filters: tuple[object, ...]) -> None:
    cursor = keyset.encode("list", (1, None), [5])
    with pytest.raises(ValidationError) as caught:
        keyset.decode(kind, filters, cursor, (int,))
    assert [problem.path for problem in caught.value.problems] == ["cursor"]


def forge(*values: object) -> str:
    digest = json.loads(base64.urlsafe_b64decode(keyset.encode("list", (), []) + "==="))[0]
    return base64.urlsafe_b64encode(json.dumps([digest, *values]).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("values", "types"),
    [
        ((), (int,)),
        ((1, 2), (int,)),
        ((True,), (int,)),
        ((-1,), (int,)),
        ((2**63,), (int,)),
        ((1.5,), (int,)),
        (("1",), (int,)),
        ((None,), (int,)),
        ((1,), (bool,)),
        ((1,), (UUID,)),
        (("x",), (UUID,)),
        (([],), (UUID,)),
        ((10**30,), (datetime,)),
        ((-(10**30),), (datetime,)),
        (("2026-01-01",), (datetime,)),
        ((True,), (datetime,)),
    ],
)
def test_forged_key_is_refused(values: tuple[object, ...], types: tuple[type[keyset.Key], ...]) -> None:
    with pytest.raises(ValidationError):
        keyset.decode("list", (), forge(*values), types)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "====",
        "é",
        "a b",
        "bnVsbA",
        "MTI",
        "W10",
        "e30",
        "W" * 511,
        "A" * 100_000,
        forge(1) + "!",
        forge(1) + "\n",
    ],
)
def test_malformed_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ValidationError):
        keyset.decode("list", (), cursor, (int,))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_as_cursor(data: bytes) -> None:
    for text in (base64.urlsafe_b64encode(data).decode(), data.decode("latin-1")):
        with pytest.raises(ValidationError):
            keyset.decode("list", (uuid4(),), text, (int,))


def test_deep_nesting_is_refused() -> None:
    nested = base64.urlsafe_b64encode(b"[" * 370).decode()
    with pytest.raises(ValidationError):
        keyset.decode("list", (), nested, (int,))


# --- orders of lists --------------------------------------------------------------------------------------

THINGS = table("things", column("big", Boolean), column("place", BigInteger), column("id", Uuid))
BY_PLACE = keyset.ListOrder("things", place=int)
BIG_FIRST = keyset.ListOrder("things", descending=True, big=bool, place=int, id=UUID)


def test_ascending_list_resumes_above_its_key() -> None:
    assert str(BY_PLACE.after(THINGS.c.place)) == "(things.place) > (:after_place)"
    assert [str(term) for term in BY_PLACE.by(THINGS.c.place)] == ["things.place ASC"]


def test_descending_list_resumes_below_its_key_in_one_comparison_of_rows() -> None:
    """An index serves one comparison of rows, not a chain of ORs."""
    criterion = "(things.big, things.place, things.id) < (:after_big, :after_place, :after_id)"
    assert str(BIG_FIRST.after(*THINGS.c)) == criterion
    terms = [str(term) for term in BIG_FIRST.by(*THINGS.c)]
    assert terms == ["things.big DESC", "things.place DESC", "things.id DESC"]


def test_first_page_has_no_parameters_of_a_key() -> None:
    assert BIG_FIRST.resume((), None) == {}


def test_cursor_becomes_the_parameters_of_its_key() -> None:
    row = uuid4()
    cursor = keyset.encode("things", (), [False, 5, row])
    assert BIG_FIRST.resume((), cursor) == {"after_big": False, "after_place": 5, "after_id": row}


@pytest.mark.parametrize(
    ("kind", "filters", "key"), [("others", (), [5]), ("things", ("filter",), [5]), ("things", (), [5, 6])]
)
def test_list_refuses_a_cursor_of_another_list_or_other_filters(
    kind: str, filters: tuple[object, ...], key: list[keyset.Key]
) -> None:
    with pytest.raises(ValidationError) as caught:
        BY_PLACE.resume((), keyset.encode(kind, filters, key))
    assert [problem.path for problem in caught.value.problems] == ["cursor"]


@given(st.lists(st.integers(0, 20), unique=True, max_size=12), st.integers(1, 5), st.booleans())
def test_pages_hold_all_rows_once_in_order(places: list[int], limit: int, descending: bool) -> None:
    """On SQLite, which compares rows like PostgreSQL."""
    order, filters = keyset.ListOrder("things", descending=descending, place=int), (descending,)
    place = THINGS.c.place
    found: list[int] = []
    with create_engine("sqlite://").begin() as connection:
        connection.exec_driver_sql("CREATE TABLE things (place integer)")
        for each in places:
            connection.exec_driver_sql("INSERT INTO things VALUES (?)", (each,))
        cursor = None
        while True:
            statement = select(place).order_by(*order.by(place)).limit(limit + 1)
            if cursor is not None:
                statement = statement.where(order.after(place))
            rows = connection.execute(statement, order.resume(filters, cursor)).all()
            page = order.cut(rows, limit, filters)
            found += (row.place for row in page.rows)
            cursor = page.next_cursor
            if cursor is None:
                break
            assert len(page.rows) == limit
    assert found == sorted(places, reverse=descending)
