"""The queue of texts to render: each text is rendered once, and companies take turns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from chatserver import logs
from chatserver.errors import UnavailableError
from chatserver.rendering.cache import MAX_AGE_SECONDS, Key, RenderedTexts
from chatserver.rendering.client import Renderer
from chatserver.rendering.turns import Company, Turns

logger = logging.getLogger(__name__)


class _Job:
    """A text that is being rendered, or waits for its turn.

    `companies`: those that asked for it; it is rendered in the turn of any of them. `forgotten`: its HTML is not kept.
    """

    def __init__(self, key: Key, text: str, headings: Sequence[int] | None) -> None:
        self.key = key
        self.text = text
        self.headings = headings
        self.begun = False
        self.forgotten = False
        self.waiting = 0
        self.companies: set[Company] = set()
        self.done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()


class RenderQueue:
    """Renders the texts of a company in the order in which they are asked for, and caches the results.

    Each renderer renders one text at a time. A company never has more than one of them, so with two a company whose
    texts take long does not make the others wait. A text that has begun is rendered to its end, even if the requests
    that wait for it are cancelled; one whose turn has not come is dropped when no request waits for it any more.
    """

    def __init__(self, renderers: Sequence[Renderer], *, cache_chars: int) -> None:
        self._renderers = renderers
        self._texts = RenderedTexts(cache_chars)
        self._jobs: dict[Key, _Job] = {}
        self._queues: dict[Company, dict[Key, _Job]] = {}  # without the texts that have begun; no queue is empty
        self._turns = Turns()
        self._served: set[Company] = set()
        self._workers: dict[Renderer, asyncio.Task[None]] = {}
        self._closed = False
        self._forgetting: asyncio.TimerHandle | None = None

    async def render(
        self, text: str, deadline: float, company: Company = None, headings: Sequence[int] | None = None
    ) -> str | None:
        """The HTML of a text; None: it could not be rendered, or not before `deadline` (the loop's clock).

        With `headings` it is the blocks of the text as JSON, as `Renderer.render` gives them.
        """
        key = self._texts.key(text, headings)
        try:
            return self._texts.look_up(key, company)
        except KeyError:
            pass
        seconds_left = deadline - asyncio.get_running_loop().time()
        if seconds_left <= 0 or self._closed:
            return None
        job = self._jobs.get(key) or _Job(key, text, headings)
        job.waiting += 1
        self._enqueue(job, company)
        try:
            await asyncio.wait({job.done}, timeout=seconds_left)
        finally:
            job.waiting -= 1
            if not job.waiting and not job.begun:
                self._remove(job)
        return job.done.result() if job.done.done() else None

    def forget(self, company: Company) -> None:
        """Forget all HTML of a company, also of texts that are being rendered: one of them was erased."""
        for job in self._jobs.values():
            if company in job.companies:
                job.forgotten = True
        self._texts.forget_html_of(company)

    async def close(self) -> None:
        """End the renderers. From then on nothing is rendered. May be called again."""
        self._closed = True
        if self._forgetting is not None:
            self._forgetting.cancel()
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._texts.forget_html()
        for job in self._jobs.values():
            if not job.done.done():
                job.done.set_result(None)
        self._jobs.clear()
        self._queues.clear()
        for renderer in self._renderers:
            await renderer.close()

    def _enqueue(self, job: _Job, company: Company) -> None:
        self._jobs[job.key] = job
        if company in job.companies:
            return
        job.companies.add(company)
        if job.begun:
            return
        self._queues.setdefault(company, {})[job.key] = job
        self._wake()

    def _wake(self) -> None:
        """Set an idle renderer to work if a company waits that is not served."""
        idle = next((renderer for renderer in self._renderers if renderer not in self._workers), None)
        if idle is not None and self._queues.keys() - self._served:
            self._workers[idle] = asyncio.create_task(self._work(idle), context=logs.without_request())

    def _remove(self, job: _Job) -> None:
        """Take a text whose turn has not come out of the queues."""
        self._jobs.pop(job.key, None)
        self._leave_queues(job)

    def _leave_queues(self, job: _Job) -> None:
        for company in job.companies:
            queue = self._queues.get(company, {})
            queue.pop(job.key, None)
            if not queue:
                self._queues.pop(company, None)

    async def _work(self, renderer: Renderer) -> None:
        """Render until no company waits that is not served already."""
        clock = asyncio.get_running_loop().time
        try:
            while waiting := self._queues.keys() - self._served:
                company = self._turns.choose(waiting)
                job = next(iter(self._queues[company].values()))
                job.begun = True
                self._leave_queues(job)
                self._served.add(company)
                self._wake()
                began = clock()
                try:
                    html = await self._outcome(renderer, job)
                finally:
                    self._served.discard(company)
                    self._turns.charge(company, clock() - began)
                del self._jobs[job.key]
                job.done.set_result(html)
        finally:
            del self._workers[renderer]

    async def _outcome(self, renderer: Renderer, job: _Job) -> str | None:
        try:
            html = await renderer.render(job.text, job.headings)
        except UnavailableError:
            return None
        except Exception:
            logger.exception("rendering")
            return None
        if html is None or not job.forgotten:
            self._texts.keep(job.key, html, asyncio.get_running_loop().time(), job.companies)
            self._forget_in_time()
        return html

    def _forget_in_time(self) -> None:
        oldest = self._texts.oldest
        if self._forgetting is None and oldest is not None and not self._closed:
            loop = asyncio.get_running_loop()
            self._forgetting = loop.call_at(oldest + MAX_AGE_SECONDS, self._forget_old, context=logs.without_request())

    def _forget_old(self) -> None:
        self._forgetting = None
        self._texts.forget_old(asyncio.get_running_loop().time())
        self._forget_in_time()
