"""The queue of texts to render: each text is rendered once, one text at a time."""

from __future__ import annotations

import asyncio
import logging

from chatserver.errors import UnavailableError
from chatserver.rendering.cache import Key, RenderedTexts
from chatserver.rendering.client import Renderer

logger = logging.getLogger(__name__)


class _Job:
    """A text that is being rendered, or waits for its turn."""

    def __init__(self) -> None:
        self.begun = False
        self.waiting = 0
        self.task: asyncio.Task[str | None]


class RenderQueue:
    """Renders texts in the order in which they are asked for, and caches the results.

    Each text has a task of its own, which goes on to its end even if the requests that wait for it are cancelled. A
    text whose turn has not come is dropped when no request waits for it any more.
    """

    def __init__(self, renderer: Renderer, *, cache_chars: int) -> None:
        self._renderer = renderer
        self._texts = RenderedTexts(cache_chars)
        self._jobs: dict[Key, _Job] = {}
        self._turn = asyncio.Lock()  # first come, first served
        self._closed = False

    async def render(self, text: str, deadline: float) -> str | None:
        """The HTML of a text; None: it could not be rendered, or not before `deadline` (the loop's clock)."""
        key = self._texts.key(text)
        try:
            return self._texts.look_up(key)
        except KeyError:
            pass
        seconds_left = deadline - asyncio.get_running_loop().time()
        if seconds_left <= 0 or self._closed:
            return None
        job = self._jobs.get(key) or self._begin(key, text)
        job.waiting += 1
        try:
            await asyncio.wait({job.task}, timeout=seconds_left)
        finally:
            job.waiting -= 1
            if not job.waiting and not job.begun:
                self._jobs.pop(key, None)
                job.task.cancel()
        return job.task.result() if job.task.done() and not job.task.cancelled() else None

    async def close(self) -> None:
        """End the renderer. From then on nothing is rendered. May be called again."""
        self._closed = True
        tasks = [job.task for job in self._jobs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._jobs.clear()
        await self._renderer.close()

    def _begin(self, key: Key, text: str) -> _Job:
        job = self._jobs[key] = _Job()
        job.task = asyncio.create_task(self._work(job, key, text))
        return job

    async def _work(self, job: _Job, key: Key, text: str) -> str | None:
        async with self._turn:
            job.begun = True
            try:
                html = await self._renderer.render(text)
            except UnavailableError:
                return None
            except Exception:
                logger.exception("rendering")
                return None
            finally:
                del self._jobs[key]
        self._texts.keep(key, html)
        return html
