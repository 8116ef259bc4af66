"""Whoever waits for others does not wait for a database that hangs once for each of them."""

from __future__ import annotations

import asyncio

import pytest

from chatserver import one_at_a_time
from chatserver.errors import DatabaseUnavailableError
from chatserver.one_at_a_time import OneAtATime


@pytest.mark.parametrize("is_long", [True, False])
async def test_those_who_waited_fail_with_one_that_failed_after_a_long_time(
    monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    monkeypatch.setattr(one_at_a_time, "LONG_SECONDS", 0.0 if is_long else 60.0)
    lock = OneAtATime()
    tried: list[str] = []
    hangs = asyncio.Event()

    async def attempt(name: str, *, tries_anyway: bool = False) -> None:
        async with lock.held(tries_anyway=tries_anyway):
            tried.append(name)
            if name == "first":
                await hangs.wait()
                raise DatabaseUnavailableError

    calls = [
        asyncio.create_task(attempt("first")),
        *(asyncio.create_task(attempt(f"waits {number}")) for number in range(3)),
        asyncio.create_task(attempt("anyway", tries_anyway=True)),
    ]
    await asyncio.sleep(0)
    hangs.set()
    first, *waited, anyway = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, DatabaseUnavailableError)
    assert anyway is None
    assert [isinstance(each, DatabaseUnavailableError) for each in waited] == [is_long] * 3
    assert tried == (["first", "anyway"] if is_long else ["first", "waits 0", "waits 1", "waits 2", "anyway"])
    await attempt("afterwards")
    assert tried[-1] == "afterwards"
