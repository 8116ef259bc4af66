"""Clients that hang up are noticed at once, many of them in slices."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial

import pytest

from chatserver.web.http.hangups import _SUPPORTED, HANGUPS_PER_TURN, Hangups
from tests.kit.waiting import eventually

pytestmark = pytest.mark.skipif(not _SUPPORTED, reason="needs epoll")


async def test_many_that_hang_up_together_are_told_of_in_several_turns_of_the_loop() -> None:
    hangups, told = Hangups(), dict[int, int]()
    turn = 0
    pairs = [socket.socketpair() for _ in range(3 * HANGUPS_PER_TURN)]
    callbacks: list[Callable[[], None]] = []
    for number, (ours, _) in enumerate(pairs):
        callbacks.append(partial(lambda number: told.setdefault(number, turn), number))
        hangups.watch(ours, callbacks[-1])

    def count() -> None:
        nonlocal turn
        turn += 1
        counting.append(asyncio.get_running_loop().call_soon(count))

    counting: list[asyncio.Handle] = []
    for _, theirs in pairs:
        theirs.close()
    count()
    await eventually(lambda: len(told) == len(pairs))
    counting[-1].cancel()
    in_turns = list(told.values())
    assert max(map(in_turns.count, in_turns)) <= HANGUPS_PER_TURN
    for (ours, _), callback in zip(pairs, callbacks, strict=True):
        hangups.unwatch(ours.fileno(), callback)
        ours.close()
    hangups.close()
