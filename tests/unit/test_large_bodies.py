"""Large bodies have a bound. One that stalls makes room for another, and no company takes all places."""

from __future__ import annotations

from contextlib import ExitStack
from uuid import UUID, uuid4

import pytest

from chatserver.errors import UnavailableError
from chatserver.web.http import large_bodies
from chatserver.web.http.large_bodies import LargeBodies

A, B = uuid4(), uuid4()


class Body:
    def __init__(self) -> None:
        self.evicted = False

    def evict(self) -> None:
        self.evicted = True


class Bodies:
    def __init__(self, limit: int, stack: ExitStack) -> None:
        self.open = LargeBodies(limit)
        self._stack = stack

    def add(self, company: UUID) -> Body:
        body = Body()
        self._stack.enter_context(self.open.admitted(company, body))
        return body


def test_bodies_of_one_company_do_not_evict_each_other_while_they_go_on() -> None:
    with ExitStack() as stack:
        bodies = Bodies(2, stack)
        first, second = bodies.add(A), bodies.add(A)
        with pytest.raises(UnavailableError) as caught:
            bodies.add(A)
        assert caught.value.retry_after_seconds >= 1
        assert not first.evicted
        assert not second.evicted
    assert len(bodies.open) == 0


def test_body_that_stalled_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_bodies, "STALLED_SECONDS", 0.0)
    with ExitStack() as stack:
        bodies = Bodies(2, stack)
        first, second = bodies.add(A), bodies.add(B)
        bodies.open.went_on(first)
        bodies.add(A)
        assert (first.evicted, second.evicted) == (False, True)
        bodies.open.went_on(second)  # it is gone
        assert len(bodies.open) == 2


def test_company_with_most_bodies_makes_room_for_another_company() -> None:
    with ExitStack() as stack:
        bodies = Bodies(4, stack)
        of_a = [bodies.add(A) for _ in range(4)]
        bodies.add(B)
        bodies.add(B)
        assert [body.evicted for body in of_a] == [True, True, False, False]
        for company in (A, B):  # equal shares now
            with pytest.raises(UnavailableError):
                bodies.add(company)
