"""The tasks that serve the connections of a server of ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

# They end when their connections do, so it does not take long.
END_SECONDS = 10.0


class ServingTasks:
    """Those of one server. They are waited for at its end: Python 3.11 tells of a cancelled one as of an error."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """In here the present task serves a connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    async def ended(self) -> None:
        """Return when all have ended; their connections are closed."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=END_SECONDS)
