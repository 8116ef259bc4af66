"""Ending a step of a run from outside."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from chatserver.live.steps import Interrupt, Interrupted, Step

logger = logging.getLogger(__name__)


class Interruption:
    """The interruption of one run. The first request counts, except that HAND_OVER replaces LOST."""

    __slots__ = (
        "_disabled",
        "_task",
        "why",
    )

    def __init__(self) -> None:
        self.why: Interrupt | None = None
        self._disabled = False
        self._task: asyncio.Task[Any] | None = None  # it takes a step that can be interrupted

    def request(self, why: Interrupt) -> None:
        """Interrupt the current step, or the next one that can be. No effect while `disabled`."""
        if self._disabled:
            return
        if self.why is None:
            self.why = why
            if self._task is not None:
                self._task.cancel()
        elif self.why is Interrupt.LOST and why is Interrupt.HAND_OVER:
            self.why = why

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
        """Take a step that may be interrupted; its result, or Interrupted. By then the step has ended.

        The step is taken by the task that calls this, which a request cancels, as `asyncio.timeout` does it.
        """
        why = self.why
        if why is not None:
            work.close()
            return Interrupted(why)
        task = self._task = asyncio.current_task()
        assert task is not None
        others = task.cancelling()
        step: Step | None = None
        try:
            step = await work
        except (asyncio.CancelledError, Exception) as error:
            if self.why is None:
                raise
            logger.debug("interrupted run: %r", error)
        finally:
            self._task = None
        why = self.why
        if why is None:
            assert step is not None
            return step
        # If the step ended in the turn of the request, its cancellation is still to come.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        if task.uncancel() > others:
            raise asyncio.CancelledError  # somebody else has cancelled the run, too
        return Interrupted(why)
