"""Work that goes on in a task of its own for as long as there is something to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from chatserver import logs

# How long the end of the process waits for such work, which may wait for the database.
CLOSE_SECONDS = 1.0


class BackgroundTask:
    """A task that runs `work`, which returns when there is nothing left to do. Belongs to the loop's thread."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """There is something to do: begin, unless the work is going on."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work(), context=logs.without_request())

    async def close(self) -> None:
        """Let the work finish, for at most CLOSE_SECONDS. May be called again."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
