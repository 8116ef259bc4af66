"""The use case of showing answers as HTML: turns between requests, and a time limit for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from chatserver.errors import UnavailableError
from chatserver.rendering.cache import Key, RenderedTexts
from chatserver.rendering.client import Renderer
from chatserver.schemas import ChatMessage, Page, RenderedMessage

logger = logging.getLogger(__name__)

RenderedPage = Page[RenderedMessage]

# Longer texts are not rendered: nobody reads them as a page.
MAX_TEXT_CHARS = 200_000
# How long one request may wait for HTML. Answers that are not rendered by then are shown as text.
REQUEST_SECONDS = 1.0
# The most characters of HTML in one response.
MAX_PAGE_CHARS = 16_000_000
CACHE_CHARS = 32_000_000


class _Job:
    """A text that is being rendered, or waits for its turn."""

    def __init__(self) -> None:
        self.begun = False
        self.waiting = 0
        self.task: asyncio.Task[str | None]


class RenderingService:
    """Renders each text once, one at a time; requests take turns, text by text.

    Each text has a task of its own, which goes on to its end even if the requests that wait for it are cancelled.
    """

    def __init__(
        self,
        renderer: Renderer | None = None,
        *,
        request_seconds: float = REQUEST_SECONDS,
        cache_chars: int = CACHE_CHARS,
    ) -> None:
        self._renderer = renderer or Renderer()
        self._request_seconds = request_seconds
        self._texts = RenderedTexts(cache_chars)
        self._jobs: dict[Key, _Job] = {}
        self._turn = asyncio.Lock()  # first come, first served
        self._closed = False

    async def render_page(self, page: Page[ChatMessage]) -> RenderedPage:
        """A page of messages, with the HTML of the answers' effective contents."""
        answers = [message for message in page.items if message.role == "assistant"]
        rendered = await self.render([answer.effective_content for answer in answers])
        html = dict(zip((answer.id for answer in answers), rendered, strict=True))
        items = [RenderedMessage(**dict(message), html=html.get(message.id)) for message in page.items]
        return RenderedPage(items=items, has_more=page.has_more, next_cursor=page.next_cursor)

    async def render(self, texts: Sequence[str]) -> list[str | None]:
        """The HTML of each text; None: it could not be rendered, or not in time."""
        deadline = asyncio.get_running_loop().time() + self._request_seconds
        room = MAX_PAGE_CHARS
        rendered: list[str | None] = []
        for text in texts:
            html = await self._render(text, deadline) if room > 0 else None
            room -= len(html or "")  # stops at the first text that exceeds the budget
            rendered.append(html if room >= 0 else None)
        return rendered

    async def close(self) -> None:
        """End the renderer. From then on nothing is rendered. May be called again."""
        self._closed = True
        tasks = [job.task for job in self._jobs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._jobs.clear()
        await self._renderer.close()

    async def _render(self, text: str, deadline: float) -> str | None:
        if len(text) > MAX_TEXT_CHARS:
            return None
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
