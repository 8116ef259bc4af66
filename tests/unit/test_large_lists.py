"""Large lists have a bound. One that stalls makes room for another, and no company takes all places."""

from __future__ import annotations

from contextlib import ExitStack
from uuid import UUID, uuid4

import pytest

from chatserver.errors import UnavailableError
from chatserver.web.http import large_lists
from chatserver.web.http.large_lists import LargeLists

A, B = uuid4(), uuid4()


class List:
    def __init__(self) -> None:
        self.evicted = False

    def evict(self) -> None:
        self.evicted = True


class Lists:
    def __init__(self, limit: int, stack: ExitStack) -> None:
        self.open = LargeLists(limit)
        self._stack = stack

    def add(self, company: UUID) -> List:
        large = List()
        self._stack.enter_context(self.open.admitted(company, large))
        return large


def test_lists_of_one_company_do_not_evict_each_other_while_they_go_on() -> None:
    with ExitStack() as stack:
        lists = Lists(2, stack)
        first, second = lists.add(A), lists.add(A)
        with pytest.raises(UnavailableError) as caught:
            lists.add(A)
        assert caught.value.retry_after_seconds >= 1
        assert not first.evicted
        assert not second.evicted
    assert len(lists.open) == 0


def test_list_that_stalled_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_lists, "STALLED_SECONDS", 0.0)
    with ExitStack() as stack:
        lists = Lists(2, stack)
        first, second = lists.add(A), lists.add(B)
        lists.open.went_on(first)
        lists.add(A)
        assert (first.evicted, second.evicted) == (False, True)
        lists.open.went_on(second)  # it is gone
        assert len(lists.open) == 2


def test_company_with_most_lists_makes_room_for_another_company() -> None:
    with ExitStack() as stack:
        lists = Lists(4, stack)
        of_a = [lists.add(A) for _ in range(4)]
        lists.add(B)
        lists.add(B)
        assert [large.evicted for large in of_a] == [True, True, False, False]
        for company in (A, B):  # equal shares now
            with pytest.raises(UnavailableError):
                lists.add(company)
