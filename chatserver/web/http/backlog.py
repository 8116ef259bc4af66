"""The bytes of responses that wait in this process for clients to take them, all together: their number is bounded."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

# A megabyte each for a hundred clients: far more than wait where nobody is up to something.
MAX_BYTES = 128 * 1024 * 1024


class Waiting(Protocol):
    def make_room(self) -> None:
        """Cut the client off."""


class Backlog:
    """If more than MAX_BYTES wait, the responses that have not gone on for longest make room."""

    def __init__(self) -> None:
        self.held_bytes = 0
        self._waiting: OrderedDict[Waiting, int] = OrderedDict()
        """How many bytes of each wait. The last one is the one that went on last."""

    def added(self, response: Waiting, held_bytes: int) -> None:
        """More was written of a response: so many bytes are held for it."""
        self.held_bytes += held_bytes - self._waiting.get(response, 0)
        self._waiting[response] = held_bytes
        while self.held_bytes > MAX_BYTES:
            longest = next(iter(self._waiting))
            if longest is response:
                return
            self.gone(longest)
            longest.make_room()

    def went_on(self, response: Waiting, held_bytes: int) -> None:
        """The client took some: so many bytes are held from now on."""
        before = self._waiting.get(response)
        if before is not None:
            self.held_bytes += held_bytes - before
            if held_bytes:
                self._waiting[response] = held_bytes
                self._waiting.move_to_end(response)
            else:
                del self._waiting[response]

    def gone(self, response: Waiting) -> None:
        """Nothing is held any more. May be called at any time."""
        self.held_bytes -= self._waiting.pop(response, 0)
