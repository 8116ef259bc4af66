"""A lock for what asks the database: whoever waits for others waits only once for a database that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatserver.errors import DatabaseUnavailableError

# A failure that came sooner holds up nobody: whoever waited tries, too.
LONG_SECONDS = 1.0


class OneAtATime:
    """A lock. First come, first served. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._long_failures = 0
        """How often somebody found in here, after a long time, that the database is away."""

    @asynccontextmanager
    async def held(self, *, tries_anyway: bool = False) -> AsyncIterator[None]:
        """In here is nobody else.

        Raises DatabaseUnavailableError if whoever was in here before did so after a long time: to try it again would
        take as long. `tries_anyway`: not.
        """
        failures = self._long_failures
        async with self._lock:
            if failures != self._long_failures and not tries_anyway:
                raise DatabaseUnavailableError
            clock = asyncio.get_running_loop().time
            began = clock()
            try:
                yield
            except DatabaseUnavailableError:
                if clock() - began >= LONG_SECONDS:
                    self._long_failures += 1
                raise
