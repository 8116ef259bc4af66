"""The demand for an answer: while there is any, the next delta is taken from the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Demand:
    """The readers of one run, in this process and in others.

    Without demand the answer is `paused`; the pause ends when demand is back and the next delta is taken. `on_end` is
    called when demand has ended: after `grace_seconds`, or at once for a run that has no grace period.
    """

    __slots__ = (
        "_closed",
        "_followed",
        "_grace",
        "_grace_seconds",
        "_has_grace",
        "_on_end",
        "_readers",
        "_wanted_again",
        "continues",
        "paused",
        "wanted",
    )

    def __init__(self, grace_seconds: float, on_end: Callable[[], None], *, continues: bool, has_grace: bool) -> None:
        self.continues = continues
        """Whether the answer shall be generated without readers."""
        self.wanted = continues
        """Whether there is any demand."""
        self.paused = False
        self._grace_seconds = grace_seconds
        self._on_end = on_end
        self._has_grace = has_grace
        self._readers = 0
        self._followed = False
        self._closed = False
        self._grace: asyncio.TimerHandle | None = None
        self._wanted_again: asyncio.Future[None] | None = None

    def add_reader(self, *, continues: bool) -> None:
        """Count one more reader. `continues`: from now on the answer shall go on without readers."""
        self._readers += 1
        self.continues = self.continues or continues
        self._changed()

    def remove_reader(self) -> None:
        self._readers -= 1
        self._changed()

    def set_continues(self) -> None:
        """From now on the answer shall go on without readers."""
        self.continues = True
        self._changed()

    def set_followed(self, followed: bool) -> None:
        """`followed`: other processes have readers of the answer."""
        self._followed = followed
        self._changed()

    def set_has_grace(self, has_grace: bool) -> None:
        """True while this process generates the answer; queued and followed runs have no grace period."""
        self._has_grace = has_grace
        self._changed()

    def _changed(self) -> None:
        self.wanted = self._readers > 0 or self.continues or self._followed
        if self._closed:
            return
        if self.wanted:
            self._cancel_grace()
            if self._wanted_again is not None and not self._wanted_again.done():
                self._wanted_again.set_result(None)
        elif not self._has_grace or self._grace_seconds == 0:
            self._on_end()
        else:
            self.paused = True
            if self._grace is None:
                self._grace = asyncio.get_running_loop().call_later(self._grace_seconds, self._on_end)

    def _cancel_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    async def wait(self) -> None:
        """Return when there is demand."""
        while not self.wanted:
            self._wanted_again = asyncio.get_running_loop().create_future()
            await self._wanted_again

    async def resume(self) -> None:
        """Return when there is demand; that ends the pause."""
        await self.wait()
        self.paused = False

    def close(self) -> None:
        """Ignore readers from now on, and let go of the run, whose frames would stay in memory."""
        self._closed = True
        self._on_end = _nothing
        self._cancel_grace()


def _nothing() -> None:
    """What the end of a demand means that is closed."""
