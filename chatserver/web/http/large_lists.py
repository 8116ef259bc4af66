"""The lists of this process that are too large to be written at once: each holds a part of its page in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol
from uuid import UUID

from chatserver.errors import UnavailableError

# A list that has not gone on for so long may have to make room for another one.
STALLED_SECONDS = 2.0
RETRY_AFTER_SECONDS = 5


class LargeList(Protocol):
    def evict(self) -> None:
        """Cut the list off."""


class LargeLists:
    """At most `limit` lists. If one more comes, one whose reader takes nothing makes room.

    A company that has at least two more lists than the one that asks has to make room for it in any case: so none can
    take all places.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[LargeList, tuple[UUID, float]] = {}

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def admitted(self, company_id: UUID, large: LargeList) -> Iterator[None]:
        """Count a list as open in here. Raises UnavailableError if there is no room for it."""
        if len(self._open) >= self._limit:
            self._make_room(company_id)
        self._open[large] = (company_id, monotonic())
        try:
            yield
        finally:
            self._open.pop(large, None)

    def went_on(self, large: LargeList) -> None:
        """The reader took a piece."""
        if large in self._open:
            self._open[large] = (self._open[large][0], monotonic())

    def _make_room(self, company_id: UUID) -> None:
        now = monotonic()
        counts = Counter(company for company, _ in self._open.values())
        candidates = [
            (since, large)
            for large, (company, since) in self._open.items()
            if counts[company] > counts[company_id] + 1 or now - since >= STALLED_SECONDS
        ]
        if not candidates:
            raise UnavailableError("Too many long lists are being read", retry_after_seconds=RETRY_AFTER_SECONDS)
        _, large = min(candidates, key=lambda candidate: candidate[0])
        del self._open[large]
        large.evict()
