"""The contract of every service that works in the background, and the test of it.

Start and stop may be called in any order, any number of times, and at the same time:

- a stop without a start has no effect but that of a stop; a second start or stop has no effect;
- when a stop has returned, nothing runs, whatever was called meanwhile;
- a start after a stop makes the service run again, or, if the service is stopped for good, has no effect. It may also
  raise then; each service says which errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tests.kit.waiting import PATIENCE_SECONDS

T = TypeVar("T")

ROUNDS = 50
CALLERS = 10


@dataclass(frozen=True)
class BackgroundService(Generic[T]):
    """A kind of service: how to make one, to start and to stop it, and whether it runs.

    `restarts`: a start after a stop makes it run again. `refusals`: errors of a start after a stop, or that a stop
    overtakes. `concurrent` is False only where the service says that its callers take turns.
    """

    make: Callable[[], T | Awaitable[T]]
    start: Callable[[T], Any]
    stop: Callable[[T], Any]
    runs: Callable[[T], bool]
    restarts: bool
    refusals: tuple[type[Exception], ...] = ()
    concurrent: bool = True


async def check_start_stop(kind: BackgroundService[T]) -> None:
    """Fail unless a service of this kind keeps the contract."""
    async with asyncio.timeout(5 * PATIENCE_SECONDS):
        await _check_each_order(kind)
        await _check_rounds(kind)
        if kind.concurrent:
            await _check_callers_at_once(kind)


async def _check_each_order(kind: BackgroundService[T]) -> None:
    service = await _result(kind.make())
    await _result(kind.stop(service))
    assert not kind.runs(service), "it runs after a stop before any start"
    await _start_again(kind, service)
    await _result(kind.stop(service))

    service = await _result(kind.make())
    await _result(kind.start(service))
    await _result(kind.start(service))
    assert kind.runs(service), "it does not run after two starts"
    await _result(kind.stop(service))
    assert not kind.runs(service), "it runs after two starts and a stop"
    await _result(kind.stop(service))
    assert not kind.runs(service), "it runs after two stops"
    await _start_again(kind, service)
    await _result(kind.stop(service))
    assert not kind.runs(service), "it runs after its last stop"


async def _check_rounds(kind: BackgroundService[T]) -> None:
    service = await _result(kind.make())
    for number in range(ROUNDS):
        if number and not kind.restarts:
            service = await _result(kind.make())
        await _result(kind.start(service))
        assert kind.runs(service), f"it does not run in round {number}"
        await _result(kind.stop(service))
        assert not kind.runs(service), f"it runs after the stop of round {number}"


async def _check_callers_at_once(kind: BackgroundService[T]) -> None:
    for first in range(CALLERS):
        service = await _result(kind.make())
        await _result(kind.start(service))
        # In each round the stops come at other moments among the starts.
        calls = [
            asyncio.ensure_future(
                _result(kind.stop(service)) if (number + first) % 3 == 0 else _start_or_refusal(kind, service)
            )
            for number in range(CALLERS)
        ]
        await asyncio.gather(*calls)
        await asyncio.gather(*(_result(kind.stop(service)) for _ in range(2)))
        assert not kind.runs(service), "it runs after starts and stops at the same time, and two last stops"


async def _start_again(kind: BackgroundService[T], service: T) -> None:
    if kind.restarts:
        await _result(kind.start(service))
        assert kind.runs(service), "it does not run after a stop and a start"
    else:
        await _start_or_refusal(kind, service)
        assert not kind.runs(service), "it was stopped for good, and runs"


async def _start_or_refusal(kind: BackgroundService[T], service: T) -> None:
    with contextlib.suppress(*kind.refusals):
        await _result(kind.start(service))


async def _result(value: Any) -> Any:
    """The value, or that of an awaitable."""
    return await value if inspect.isawaitable(value) else value
