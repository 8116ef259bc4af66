"""Whose turn it is: companies share the renderer's time fairly, however many texts each of them has."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection
from uuid import UUID

Company = UUID | None
"""None stands for all that belongs to no company."""

# A turn costs one unit for each such time that has begun. So ordinary texts cost the same, a hostile one far more.
UNIT_SECONDS = 0.05
# Of how many companies it is remembered what they have used.
MAX_COMPANIES = 1_000


class Turns:
    """Gives the next turn to the company that has used the least, among equals to the one that had a turn longest ago.

    A company that comes, or comes back, has used at least as much as the one whose turn it was last: nobody saves up
    turns, and nobody gets rid of a debt by pausing.
    """

    def __init__(self) -> None:
        self._used: OrderedDict[Company, int] = OrderedDict()  # in the order of their last turns
        self._level = 0

    def choose(self, companies: Collection[Company]) -> Company:
        """The company whose turn it is among those that wait; there must be one."""
        order = {company: place for place, company in enumerate(self._used)}
        chosen = min(companies, key=lambda company: (self._used_by(company), order.get(company, -1)))
        self._level = self._used_by(chosen)
        self._used[chosen] = self._level
        self._used.move_to_end(chosen)
        while len(self._used) > MAX_COMPANIES:
            self._used.popitem(last=False)
        return chosen

    def charge(self, company: Company, seconds: float) -> None:
        """Count the time that a company's turn took."""
        self._used[company] = self._used_by(company) + max(1, math.ceil(seconds / UNIT_SECONDS))

    def _used_by(self, company: Company) -> int:
        return max(self._used.get(company, 0), self._level)
