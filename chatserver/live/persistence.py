"""Writing down what must not be lost while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from chatserver.errors import DatabaseUnavailableError

T = TypeVar("T")

# How long a result is kept in hand while the database is away.
COMMIT_SECONDS = 60.0
# The waits between its tries.
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.05, 1.0


async def persist(write: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of `write`, which is tried again and again while the database is away.

    It must be one that may be repeated when it is not known whether it took effect. Raises DatabaseUnavailableError
    after COMMIT_SECONDS.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + COMMIT_SECONDS
    wait = FIRST_RETRY_SECONDS
    while True:
        try:
            return await write()
        except DatabaseUnavailableError:
            if clock() + wait > deadline:
                raise
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_RETRY_SECONDS)
