"""The demand for an answer: while there is any, the next delta is taken from the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

from chatserver.live.outcomes import NOBODY, Askers

# For so long after an answer lost somebody on whose behalf it went on, it has no grace. Meanwhile their readers are cut
# off, here and at other processes, and nothing shall wait for them.
FORSAKEN_SECONDS = 5.0


class Demand:
    """The readers of one run, in this process and in others, and those on whose behalf it goes on without.

    Without demand the answer is `paused`; the pause ends when demand is back and the next delta is taken. `on_end` is
    called when demand has ended: after `grace_seconds`, or at once for a run that has no grace period.
    """

    __slots__ = (
        "_closed",
        "_forsaken",
        "_grace",
        "_grace_from",
        "_grace_seconds",
        "_has_grace",
        "_may_begin",
        "_on_end",
        "_readers",
        "_wanted_again",
        "askers",
        "followed",
        "paused",
        "wanted",
    )

    def __init__(self, grace_seconds: float, on_end: Callable[[], None], *, askers: Askers, has_grace: bool) -> None:
        self.askers = askers
        """On whose behalf the answer shall be generated without readers."""
        self.wanted = bool(askers)
        """Whether there is any demand."""
        self.paused = False
        self._grace_seconds = grace_seconds
        self._on_end = on_end
        self._has_grace = has_grace
        self._grace_from = 0.0
        self._forsaken: Askers = NOBODY
        self._may_begin = False
        self._readers = 0
        self.followed = False
        """Whether other processes have readers of the answer."""
        self._closed = False
        self._grace: asyncio.TimerHandle | None = None
        self._wanted_again: asyncio.Future[None] | None = None

    @property
    def may_begin(self) -> bool:
        """Whether an answer may be begun for this demand: somebody has joined, or asks, who may begin one."""
        return self._may_begin or bool(self.askers)

    def add_reader(self, askers: Askers = NOBODY, *, may_begin: bool = True) -> None:
        """Count one more reader. `askers`: as of `add_askers`. `may_begin`: its client may begin an answer."""
        self._readers += 1
        self._may_begin |= may_begin
        self.askers |= askers - self._forsaken
        self._changed()

    def remove_reader(self) -> None:
        self._readers -= 1
        self._changed()

    def add_askers(self, askers: Askers) -> None:
        """From now on the answer shall go on without readers also on behalf of these, but not of forsaken ones."""
        if not askers <= self.askers:
            self.askers |= askers - self._forsaken
            self._changed()

    def forsake(self, tokens: frozenset[UUID]) -> None:
        """These tokens have lost access: on their behalf the answer goes on no more.

        If that ends the demand, now or within FORSAKEN_SECONDS, `on_end` is called at once.
        """
        lost = self.askers & tokens
        if lost:
            self._forsaken |= lost
            self.askers -= lost
            self._grace_from = asyncio.get_running_loop().time() + FORSAKEN_SECONDS
            self._changed()

    def set_followed(self, followed: bool) -> None:
        self.followed = followed
        self._changed()

    def set_has_grace(self, has_grace: bool) -> None:
        """True while this process generates the answer; queued and followed runs have no grace period."""
        self._has_grace = has_grace
        self._changed()

    def _changed(self) -> None:
        self.wanted = self._readers > 0 or bool(self.askers) or self.followed
        if self._closed:
            return
        if self.wanted:
            self._cancel_grace()
            if self._wanted_again is not None and not self._wanted_again.done():
                self._wanted_again.set_result(None)
        elif not self._has_grace or self._grace_seconds == 0 or asyncio.get_running_loop().time() < self._grace_from:
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
