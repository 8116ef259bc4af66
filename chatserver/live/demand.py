"""Who wants an answer: as long as somebody does, the next delta is taken from the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Demand:
    """The readers of one run, here and elsewhere, and what happens when there are none.

    While nobody wants the answer it is `paused`, which lasts until the next delta after somebody wants it again.
    `on_end` is called when nobody does any more: after `grace_seconds`, or at once where there is nothing to keep.
    """

    def __init__(self, grace_seconds: float, on_end: Callable[[], None], *, continues: bool, keeps: bool) -> None:
        self.continues = continues
        """Whether the answer is wanted without any reader."""
        self.paused = False
        self._grace_seconds = grace_seconds
        self._on_end = on_end
        self._keeps = keeps
        self._readers = 0
        self._followed = False
        self._closed = False
        self._grace: asyncio.TimerHandle | None = None
        self._wanted_again: asyncio.Future[None] | None = None

    def __bool__(self) -> bool:
        return self._readers > 0 or self.continues or self._followed

    def add_reader(self, *, continues: bool) -> None:
        """One more, who may want it to go on without readers from now on."""
        self._readers += 1
        self.continues = self.continues or continues
        self._changed()

    def remove_reader(self) -> None:
        self._readers -= 1
        self._changed()

    def set_continues(self) -> None:
        """From now on it is wanted without readers, too."""
        self.continues = True
        self._changed()

    def set_followed(self, followed: bool) -> None:
        """Whether there are readers on other processes."""
        self._followed = followed
        self._changed()

    def set_keeps(self, keeps: bool) -> None:
        """Whether a grace has something to keep: not for who waits for its turn, or for another process."""
        self._keeps = keeps
        self._changed()

    def _changed(self) -> None:
        if self._closed:
            return
        if self:
            self._cancel_grace()
            if self._wanted_again is not None and not self._wanted_again.done():
                self._wanted_again.set_result(None)
        elif not self._keeps or self._grace_seconds == 0:
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
        """Until somebody wants it."""
        while not self:
            self._wanted_again = asyncio.get_running_loop().create_future()
            await self._wanted_again

    async def resume(self) -> None:
        """Until somebody wants it; with that the pause, if it was one, is over."""
        await self.wait()
        self.paused = False

    def close(self) -> None:
        """The run has ended: who leaves from now on changes nothing, and no timer holds its frames."""
        self._closed = True
        self._cancel_grace()
