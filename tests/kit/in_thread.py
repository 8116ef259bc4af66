"""An asynchronous part of the kit for tests that are not: it lives on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Generic, TypeVar

from tests.kit.waiting import PATIENCE_SECONDS

T = TypeVar("T")
R = TypeVar("R")


class InThread(Generic[T]):
    """`part` is what the context manager gave; `run` has its loop run a coroutine."""

    def __init__(self, part: T, loop: asyncio.AbstractEventLoop) -> None:
        self.part = part
        self._loop = loop

    def set(self, event: asyncio.Event) -> None:
        """Set an event of the loop."""
        self._loop.call_soon_threadsafe(event.set)

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """The result of `work`, which runs on the thread's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(3 * PATIENCE_SECONDS)


@contextmanager
def in_thread(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[InThread[T]]:
    """Enter an asynchronous context manager on a loop in a thread, and leave it at the end."""
    entered: Future[InThread[T]] = Future()
    leave = asyncio.Event()

    async def live() -> None:
        try:
            async with make() as part:
                entered.set_result(InThread(part, asyncio.get_running_loop()))
                await leave.wait()
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        held = entered.result()
        try:
            yield held
        finally:
            held.set(leave)
    finally:
        thread.join()
