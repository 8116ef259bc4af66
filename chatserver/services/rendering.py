"""The use case of showing answers as HTML: which texts of a page are rendered, and within which limits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from chatserver.message_schemas import ChatMessage, RenderedMessage
from chatserver.rendering.client import Renderer
from chatserver.rendering.queue import RenderQueue
from chatserver.schemas import Page

RenderedPage = Page[RenderedMessage]

# Longer texts are not rendered: nobody reads them as a page.
MAX_TEXT_CHARS = 200_000
# How long one request may wait for HTML. Answers that are not rendered by then are shown as text.
REQUEST_SECONDS = 1.0
# The most characters of HTML in a piece of a list that is read at once, and held for a client that reads slowly.
MAX_PAGE_CHARS = 4_000_000
CACHE_CHARS = 32_000_000


class RenderingService:
    """Renders the texts of a request one after the other, so that requests take turns, text by text.

    There are two renderers, so that one company's texts do not make all others wait. The second process is started only
    when texts of two companies are there at once.
    """

    def __init__(
        self,
        renderer: Renderer | None = None,
        *,
        request_seconds: float = REQUEST_SECONDS,
        cache_chars: int = CACHE_CHARS,
    ) -> None:
        """`renderer`: used in place of both; for tests."""
        self.renderer = renderer or Renderer()
        renderers = [self.renderer] if renderer else [self.renderer, Renderer()]
        self._queue = RenderQueue(renderers, cache_chars=cache_chars)
        self.request_seconds = request_seconds

    async def render_page(self, page: Page[ChatMessage], company: UUID | None = None) -> RenderedPage:
        """A page of messages of a company, with the HTML of the answers' effective contents."""
        answers = [message for message in page.items if message.role == "assistant"]
        rendered = await self.render([answer.effective_content for answer in answers], company)
        html = dict(zip((answer.id for answer in answers), rendered, strict=True))
        items = [RenderedMessage(**dict(message), html=html.get(message.id)) for message in page.items]
        return RenderedPage(items=items, has_more=page.has_more, next_cursor=page.next_cursor)

    async def render(self, texts: Sequence[str], company: UUID | None = None) -> list[str | None]:
        """The HTML of each text; None: it could not be rendered, not in time, or not within the limits."""
        deadline = asyncio.get_running_loop().time() + self.request_seconds
        room = MAX_PAGE_CHARS
        rendered: list[str | None] = []
        for text in texts:
            fits = room > 0 and len(text) <= MAX_TEXT_CHARS
            html = await self._queue.render(text, deadline, company) if fits else None
            room -= len(html or "")  # stops at the first text that exceeds the budget
            rendered.append(html if room >= 0 else None)
        return rendered

    async def close(self) -> None:
        """End the renderers. From then on nothing is rendered. May be called again."""
        await self._queue.close()
