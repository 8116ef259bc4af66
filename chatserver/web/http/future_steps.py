"""From one future to the next, without a task."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from typing import Any


def then(future: Any, callback: Callable[[Future[Any]], None]) -> None:
    """Call back with a future that is done: at once if it is."""
    if future.done():
        callback(future)
    else:
        future.add_done_callback(callback)


def passes_failure_on(source: Future[bytes], target: Future[bytes]) -> bool:
    """Whether nothing is left to do: `source` failed, and so does `target` now, or `target` was done before."""
    error = source.exception()
    if error is None:
        return target.done()
    if not target.done():
        target.set_exception(error)
        target.exception()  # whoever waited for it may be gone
    return True
