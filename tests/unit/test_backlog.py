"""What waits for clients in one process is bounded, and the responses that stand still make room first."""

from __future__ import annotations

import pytest

from chatserver.web.http import backlog
from chatserver.web.http.backlog import Backlog


class Response:
    def __init__(self, held: Backlog, cut: list[Response]) -> None:
        self._held = held
        self._cut = cut

    def make_room(self) -> None:
        self._held.gone(self)  # as a stream does when it is closed
        self._cut.append(self)


def test_what_stands_still_for_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_BYTES", 100)
    held, cut = Backlog(), list[Response]()
    first, second, third, huge = (Response(held, cut) for _ in range(4))
    held.added(first, 40)
    held.added(second, 40)
    held.went_on(first, 30)
    held.went_on(third, 10)  # of which nothing waits
    assert held.held_bytes == 70
    held.added(third, 20)
    held.added(first, 35)  # more of it; it has not gone on
    assert (held.held_bytes, cut) == (95, [])
    held.added(third, 40)
    assert (held.held_bytes, cut) == (75, [second])
    held.went_on(first, 0)
    held.gone(second)
    assert held.held_bytes == 40
    held.added(huge, 1_000)  # there is room for one in any case
    assert (held.held_bytes, cut) == (1_000, [second, third])
    held.added(first, 1)
    assert (held.held_bytes, cut) == (1, [second, third, huge])
