"""The use case of showing answers as HTML: which texts of a page are rendered, and within which limits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from chatserver.message_schemas import RenderedMessage, VersionedMessage
from chatserver.rendering.client import Renderer
from chatserver.rendering.queue import RenderQueue
from chatserver.schema_types import WHOLE, Text, Wire
from chatserver.schemas import Page
from chatserver.services.access import Actor

RenderedPage = Page[RenderedMessage]

# Longer texts are not rendered: nobody reads them as a page.
MAX_TEXT_CHARS = 200_000
# How long one request may wait for HTML. Answers that are not rendered by then are shown as text.
REQUEST_SECONDS = 1.0
# The most characters of HTML in a piece of a list that is read at once, and held for a client that reads slowly.
MAX_PAGE_CHARS = 4_000_000
CACHE_CHARS = 32_000_000


HeadingLevels = Annotated[list[Annotated[int, Field(ge=1, le=6), WHOLE]], Field(max_length=6)]


class RenderText(Wire):
    """Body of POST …/render: a Markdown text, or the continuation of one."""

    text: Annotated[Text, StringConstraints(max_length=MAX_TEXT_CHARS)]
    headings: HeadingLevels = Field(
        default=[],
        description="The levels of the headings above the text: `headings` of the last block before it.",
    )


class RenderedBlock(Wire):
    """A top-level block of a text. What follows it may change it only if it is the last one."""

    html: Annotated[str, Field(description="Its HTML, as safe as that of messages; empty if nothing of it is shown.")]
    chars: Annotated[
        int,
        Field(description="How much of the text it covers, blank lines behind it included, in UTF-16 code units."),
    ]
    headings: Annotated[HeadingLevels, Field(description="The levels of the headings above what follows it.")]


class RenderedBlocks(Wire):
    """The blocks of a text, in order. They cover all of it; a blank text has none."""

    blocks: Annotated[
        list[RenderedBlock] | None,
        Field(description="Null if the text could not be rendered in time: then show the text."),
    ]


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

    async def render_page(self, page: Page[VersionedMessage], company: UUID | None = None) -> RenderedPage:
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

    async def render_blocks(self, actor: Actor, company: UUID, text: RenderText) -> str | None:
        """The top-level blocks of a text as JSON, see `RenderedBlocks`; None: not rendered, or not in time.

        It is JSON already because the loop has better things to do than to take so many blocks apart.
        Raises ForbiddenError for another company.
        """
        actor.require_company(company)
        deadline = asyncio.get_running_loop().time() + self.request_seconds
        return await self._queue.render(text.text, deadline, company, text.headings)

    def forget(self, company: UUID) -> None:
        """Forget all HTML of a company: a text of it was erased."""
        self._queue.forget(company)

    async def close(self) -> None:
        """End the renderers. From then on nothing is rendered. May be called again."""
        await self._queue.close()
