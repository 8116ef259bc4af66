"""Ending a step of a run from outside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from chatserver.live.steps import Interrupt, Interrupted, Step

logger = logging.getLogger(__name__)


class Interruption:
    """The interruption of one run. The first request counts, except that HAND_OVER replaces LOST."""

    def __init__(self) -> None:
        self.why: Interrupt | None = None
        self._disabled = False
        self._work: asyncio.Task[Step] | None = None

    def request(self, why: Interrupt) -> None:
        """Interrupt the current step, or the next one that can be. No effect while `disabled`."""
        if self._disabled:
            return
        if self.why is None or (self.why is Interrupt.LOST and why is Interrupt.HAND_OVER):
            self.why = why
            if self._work is not None:
                self._work.cancel()

    def clear(self) -> None:
        """Forget the request: it was carried out, and the run goes on."""
        self.why = None

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """In here, and after `close`, the end of the run is decided: requests have no effect."""
        self._disabled = True
        try:
            yield
        finally:
            self._disabled = False

    def close(self) -> None:
        """The run has ended."""
        self._disabled = True

    async def interruptible(self, work: Coroutine[Any, Any, Step]) -> Step:
        """Take a step that may be interrupted; its result, or Interrupted. By then the step has ended."""
        task = asyncio.ensure_future(work)
        if self.why is not None:
            task.cancel()
        self._work = task
        try:
            await asyncio.wait({task})
        finally:
            self._work = None
        if self.why is None:
            return task.result()
        if not task.cancelled() and task.exception() is not None:
            logger.debug("interrupted run: %r", task.exception())
        return Interrupted(self.why)
