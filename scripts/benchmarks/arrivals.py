"""When the tokens of a model arrived at readers: each holds the time at which the model sent it."""

from __future__ import annotations

import re

_STAMP = re.compile(rb'"content":"(\d+) "')


class Arrivals:
    """The arrivals (CLOCK_MONOTONIC, ns) of tokens at the readers of one process, by their stamps."""

    def __init__(self) -> None:
        self.at: dict[int, int] = {}

    def note(self, arrived_ns: int, events: bytes) -> None:
        """For a reader: bytes that end with an event have come."""
        for match in _STAMP.finditer(events):
            self.at[int(match[1])] = arrived_ns

    def sent(self, since_ns: float, until_ns: float = float("inf")) -> int:
        """How many of the tokens that were sent within that time have arrived."""
        return sum(since_ns < stamp < until_ns for stamp in self.at)

    def lags_ms(self, since_ns: float, before: Arrivals | None = None) -> list[float]:
        """Milliseconds by which tokens sent since then came later than they were sent, or than at `before`."""
        if before is None:
            return [(at - stamp) / 1e6 for stamp, at in self.at.items() if stamp > since_ns]
        return [(self.at[stamp] - at) / 1e6 for stamp, at in before.at.items() if stamp > since_ns and stamp in self.at]
