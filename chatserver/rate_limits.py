"""The limit of requests per minute and client."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable

from chatserver.errors import Bound, RateLimitedError

# The most clients that are remembered. A forgotten one starts from zero.
MAX_CLIENTS = 50_000


class RateLimiter:
    """Allows a client `per_minute` requests at once, and then one every 60 / `per_minute` seconds.

    This is the generic cell rate algorithm: for each client it keeps the time at which the client has its full
    allowance again. `per_minute` 0: no limit. `clock` gives seconds. `bound`: what its refusals are counted as.
    """

    def __init__(
        self, per_minute: int, clock: Callable[[], float] = time.monotonic, *, bound: Bound | None = None
    ) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._bound = bound
        self._clear_at: dict[str, float] = {}

    @property
    def is_off(self) -> bool:
        return not self._interval

    def check(self, client: str) -> None:
        """Count a request. Raises RateLimitedError for one too many, which is not counted."""
        if not self._interval:
            return
        now = self._clock()
        clear_at = max(self._clear_at.pop(client, now), now)
        wait = clear_at + self._interval - now - 60
        # The newest are at the end: the clients that have been silent longest are forgotten first.
        self._clear_at[client] = clear_at if wait > 1e-9 else clear_at + self._interval
        if len(self._clear_at) > MAX_CLIENTS:
            del self._clear_at[next(iter(self._clear_at))]
        self._refuse_if(wait)

    def require_room(self, client: str) -> None:
        """Raises RateLimitedError if one more request would be too many. Counts nothing."""
        now = self._clock()
        self._refuse_if(max(self._clear_at.get(client, now), now) + self._interval - now - 60)

    def _refuse_if(self, wait: float) -> None:
        """Raises RateLimitedError if a request would have to wait."""
        if wait > 1e-9:
            raise RateLimitedError(retry_after_seconds=math.ceil(wait), bound=self._bound)

    def count(self, client: str) -> None:
        """Count a request, whether it is one too many or not."""
        with contextlib.suppress(RateLimitedError):
            self.check(client)
