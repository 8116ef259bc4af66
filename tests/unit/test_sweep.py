"""A round of looks takes several turns of the loop, and more of them if looks end what they look at."""

from __future__ import annotations

import pytest

from chatserver.web.http.sweep import ENDING_LOOKS, LOOKS_PER_TURN, Sweep
from tests.kit.loop_turns import most_per_turn


@pytest.mark.parametrize(("ends", "per_turn"), [(None, LOOKS_PER_TURN), (True, LOOKS_PER_TURN // ENDING_LOOKS)])
async def test_looks_that_end_something_leave_room_for_what_comes_of_it(ends: bool | None, per_turn: int) -> None:
    things = set(range(3 * LOOKS_PER_TURN))
    seen = []

    def look(thing: int, _: float) -> bool | None:
        seen.append(thing)
        return ends

    sweep = Sweep(things, look, 60)
    sweep.start()
    sweep.begin_round()
    most = max(len(seen), await most_per_turn(lambda: len(seen), lambda: len(seen) == len(things)))
    assert (most, sorted(seen)) == (per_turn, sorted(things))
    things.clear()
