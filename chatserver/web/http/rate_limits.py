"""How many requests a minute one client may send."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from chatserver.errors import RateLimitedError

# Clients that are remembered at most; who is forgotten begins anew.
MAX_CLIENTS = 50_000


class RateLimiter:
    """Lets `per_minute` requests of a client through at once, and from then on one every 60 / `per_minute` seconds.

    That is the generic cell rate algorithm: of a client only the time is kept at which it would be as if it had never
    sent anything. `per_minute` 0 sets no limit. `clock` is in seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._clear_at: dict[str, float] = {}

    def check(self, client: str) -> None:
        """Count a request; raises RateLimitedError, which does not count, where it is one too many."""
        if not self._interval:
            return
        now = self._clock()
        clear_at = max(self._clear_at.pop(client, now), now)
        wait = clear_at + self._interval - now - 60
        # The newest stand at the end, so that those that are forgotten first have been silent for longest.
        self._clear_at[client] = clear_at if wait > 1e-9 else clear_at + self._interval
        if len(self._clear_at) > MAX_CLIENTS:
            del self._clear_at[next(iter(self._clear_at))]
        if wait > 1e-9:
            raise RateLimitedError(retry_after_seconds=math.ceil(wait))
