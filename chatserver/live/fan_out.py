"""Tells the readers of a journal that there is more to read: a few at once, many in slices over several turns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from chatserver import logs

logger = logging.getLogger(__name__)

# How many readers are told in one turn of the loop. Each sends at most one batch, so a turn takes about a millisecond.
READERS_PER_TURN = 32

Waker = Callable[[], None]


class FanOut:
    """The wakers of a journal's readers. A waker must be quick, and must not add or remove wakers.

    The first ones are called in `tell`, the others in the next turns of the loop. If `tell` is called again meanwhile,
    another round follows when this one has ended: where answers are generated faster than they are sent, frames gather,
    and a reader gets several at once.
    """

    __slots__ = (
        "_again",
        "_round",
        "_wakers",
    )

    def __init__(self) -> None:
        self._wakers: dict[Waker, None] = {}
        self._round: Iterator[Waker] | None = None
        """Those that are still to be called."""
        self._again = False

    def __bool__(self) -> bool:
        return bool(self._wakers)

    def add(self, waker: Waker) -> None:
        self._wakers[waker] = None

    def remove(self, waker: Waker) -> None:
        self._wakers.pop(waker, None)

    def tell(self) -> None:
        """Call all wakers."""
        if self._round is not None:
            self._again = True
        elif len(self._wakers) <= READERS_PER_TURN:
            _wake(self._wakers)
        else:
            self._round = iter(list(self._wakers))
            self._next_slice()

    def _next_slice(self) -> None:
        assert self._round is not None
        part = list(islice(self._round, READERS_PER_TURN))
        _wake(waker for waker in part if waker in self._wakers)
        if len(part) == READERS_PER_TURN:
            asyncio.get_running_loop().call_soon(self._next_slice, context=logs.without_request())
            return
        self._round = None
        if self._again:
            self._again = False
            self.tell()


def _wake(wakers: Iterable[Waker]) -> None:
    for waker in wakers:
        try:
            waker()
        except Exception:
            # The others have to be told all the same, and the answer goes on.
            logger.exception("a reader could not be told")
