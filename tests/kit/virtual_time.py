"""Virtual time: a clock that moves on when every task waits.

A test waits for a grace of ten seconds to the millisecond, and takes no time; an event that must not happen would
happen.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")

# A test that is still going then waits for what never comes.
HOURS_SECONDS = 4 * 3_600.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves on when there is nothing else to do."""

    def __init__(self) -> None:
        self._now = 0.0
        loop = self

        class Selector(selectors.SelectSelector):
            def select(self, timeout: float | None = None) -> Any:
                if timeout is None:
                    raise AssertionError("deadlock: all wait for each other")
                loop._now += timeout
                if timeout and loop._now > HOURS_SECONDS:
                    raise AssertionError("what is waited for does not come")
                return super().select(0)

        super().__init__(Selector())

    def time(self) -> float:
        return self._now


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an `async def` test in virtual time; it fails if it leaves a task, or an error that nobody has seen.

    A pytest or hypothesis test of its own: pytest-tornasync has no part in it.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        errors: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: errors.append(context))
            runner.run(_leaving_no_task(test(*args, **kwargs)))
            gc.collect()  # a task whose exception nobody has seen says so when it is freed
            assert errors == []

    return run


async def _leaving_no_task(test: Coroutine[Any, Any, None]) -> None:
    await test
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks are left: {left}"


async def quiet() -> None:
    """Wait until everything that takes no time has happened."""
    await asyncio.sleep(1e-6)


def now() -> float:
    """The virtual time in seconds."""
    return asyncio.get_running_loop().time()
