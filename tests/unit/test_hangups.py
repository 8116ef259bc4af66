"""Clients that hang up are noticed at once, many of them in slices."""

from __future__ import annotations

import select
import socket
from functools import partial

import pytest

from chatserver.web.http.hangups import HANGUPS_PER_TURN, Hangups
from tests.kit.loop_turns import most_per_turn

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="needs epoll")


async def test_many_that_hang_up_together_are_told_of_in_several_turns_of_the_loop() -> None:
    hangups, told = Hangups(), list[int]()
    pairs = [socket.socketpair() for _ in range(3 * HANGUPS_PER_TURN)]
    callbacks = [partial(told.append, number) for number in range(len(pairs))]
    for (ours, _), callback in zip(pairs, callbacks, strict=True):
        hangups.watch(ours, callback)
    for _, theirs in pairs:
        theirs.close()
    assert await most_per_turn(lambda: len(told), lambda: len(told) == len(pairs)) <= HANGUPS_PER_TURN
    assert sorted(told) == list(range(len(pairs)))
    for (ours, _), callback in zip(pairs, callbacks, strict=True):
        hangups.unwatch(ours.fileno(), callback)
        ours.close()
    hangups.close()
