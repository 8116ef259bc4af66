"""When Python looks for garbage: seldom where there is much to walk over, and then it is a calm moment.

Nearly all objects are freed as soon as nobody refers to them. Only those that refer to each other in a circle wait for
the garbage collector. It looks at young objects often, which takes a millisecond or two. A full collection walks over
all objects, about a hundred of each open stream, and meanwhile the event loop stands still: 50 ms with 1,000 streams.
Python begins one whenever there are a quarter more objects, which is all the time while streams are opened. Requests
and streams leave no circles behind, so it would find next to nothing.

From Python 3.14 on a full collection is made in small steps, so it is left to Python.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable

LOOK_SECONDS = 0.5
# Python looks at new objects when there are so many more of them than before. Those that stay are looked at a second
# time after so many further looks, which is once for nearly 5,000 new objects.
YOUNG_OBJECTS, YOUNG_LOOKS = 700, 5
# More second looks than there ever are: Python makes no full collection by itself.
_NEVER = 2**31 - 1
# With at most so many streams and answers a full collection takes some milliseconds. It is made after so many second
# looks.
CALM_LOAD, CALM_LOOKS = 64, 20
# With more of them it is made only after so many, which is for two million new objects, or after so long: circles that
# a defect leaves may hold much memory by few objects.
MOST_LOOKS = 400
MOST_SECONDS = 600.0


class GarbageCollection:
    """Makes full collections, instead of Python, from `start` to `close`.

    `load` tells how many streams and answers there are.
    """

    def __init__(self, load: Callable[[], int]) -> None:
        self._load = load
        self._timer: asyncio.TimerHandle | None = None
        self._thresholds: tuple[int, int, int] | None = None
        self._closed = False
        self._latest = 0.0
        """When the next full collection is due at the latest."""

    @property
    def running(self) -> bool:
        return self._timer is not None

    def start(self) -> None:
        """Begin. No effect if that has begun, after `close`, and with a Python that needs none of it."""
        if self._timer is None and not self._closed and sys.version_info < (3, 14):
            self._thresholds = gc.get_threshold()
            gc.set_threshold(YOUNG_OBJECTS, YOUNG_LOOKS, _NEVER)
            self._latest = asyncio.get_running_loop().time() + MOST_SECONDS
            self._look_later()

    def close(self) -> None:
        """Leave it to Python again. May be called again."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._thresholds is not None:
            gc.set_threshold(*self._thresholds)
            self._thresholds = None

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._look_later()
        _, _, looks = gc.get_count()
        now = asyncio.get_running_loop().time()
        if looks >= (CALM_LOOKS if self._load() <= CALM_LOAD else MOST_LOOKS) or now >= self._latest:
            gc.collect()
            self._latest = now + MOST_SECONDS
