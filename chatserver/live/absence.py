"""Notices that the database was away: its owners then get time to come back to their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatserver.errors import DatabaseUnavailableError

# A call that takes longer than this was held up: the database was away, and has come back.
HELD_UP_SECONDS = 2.0
# How long after an absence owners may renew leases that expired meanwhile, and commit their answers. They try at least
# once a second.
RETURN_SECONDS = 3.0


class Absence:
    """Watches calls to the database that are made about once a second.

    While the database is away, and for RETURN_SECONDS after that, an expired lease says nothing about its owner.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` tells seconds."""
        self._clock = clock
        self._calling_since: float | None = None
        self._away = False
        self._over_at = float("-inf")

    @property
    def recent(self) -> bool:
        """Whether the database is away, or was until a moment ago."""
        return self._away or self._held_up or self._clock() < self._over_at

    @property
    def _held_up(self) -> bool:
        return self._calling_since is not None and self._clock() - self._calling_since > HELD_UP_SECONDS

    @contextmanager
    def watched(self) -> Iterator[None]:
        """For one call at a time."""
        self._calling_since = self._clock()
        try:
            yield
        except DatabaseUnavailableError:
            self._away = True
            raise
        else:
            if self._away or self._held_up:
                self._over_at = self._clock() + RETURN_SECONDS
            self._away = False
        finally:
            self._calling_since = None
