"""The base of handlers of lists: a page is written in pieces, and is bounded in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any
from uuid import UUID

from chatserver.schema_types import to_json
from chatserver.schemas import Page
from chatserver.web.http.large_body_handler import SMALL_BODY_BYTES, LargeBodyHandler

# A page ends at about 8 MiB: it goes on with what the database reads at once, unless it has so many bytes already.
MAX_PAGE_BYTES = 15 << 19
# Yield to the loop after this many bytes of a response: they take about a millisecond.
BYTES_A_TURN = 256 * 1024


class ListHandler(LargeBodyHandler):
    async def write_list(self, pages: AsyncGenerator[Page[Any]], company: UUID | Callable[[], UUID]) -> None:
        """End the response with one page of a list.

        It comes in smaller pages. Each is read when the one before it was sent, so that a slow reader does not hold the
        whole page in memory. `company`: whose list it is, or what gives that when the first page is read.
        """
        async with aclosing(pages):
            body = _Body(pages)
            begun = await self.unless_gone(body.first())
            self.set_header("Content-Type", "application/json")
            if body.complete:
                self.finish(begun)
                return
            company_id = company if isinstance(company, UUID) else company()
            await self.send_large(company_id, body.rest(begun), "a list")


class _Body:
    """The JSON of a page that comes in smaller pages."""

    def __init__(self, pages: AsyncGenerator[Page[Any]]) -> None:
        self._pages = pages
        self._items = 0
        self._bytes = 0
        self._following: Page[Any] | None = None
        self._last: Page[Any]
        self.complete = False
        """Whether `first` is the whole body."""

    async def first(self) -> bytes:
        """The beginning of the body, or all of it if it is small."""
        self._last = await anext(self._pages)
        pieces = [b'{"items":[', *await self._encoded(self._last)]
        if self._bytes <= SMALL_BODY_BYTES:
            self._following = await anext(self._pages, None)
            self.complete = self._following is None
            if self.complete:
                pieces.append(self._tail())
        return b"".join(pieces)

    async def rest(self, begun: bytes) -> AsyncGenerator[bytes]:
        """`begun`, and all that comes behind it."""
        yield begun
        del begun
        while self._bytes < MAX_PAGE_BYTES:
            following, self._following = self._following or await anext(self._pages, None), None
            if following is None:
                break
            self._last = following
            yield b"".join(await self._encoded(following))
        yield self._tail()

    async def _encoded(self, page: Page[Any]) -> list[bytes]:
        """The items of a page as JSON. Other tasks get a turn in between.

        The items themselves are let go: in memory they may take four times as much.
        """
        pieces = []
        since_turn = 0
        for item in page.items:
            piece = to_json(item)
            pieces.append(b"," + piece if self._items else piece)
            self._items += 1
            self._bytes += len(piece)
            since_turn += len(piece)
            if since_turn > BYTES_A_TURN:
                since_turn = 0
                await asyncio.sleep(0)
        page.items.clear()
        return pieces

    def _tail(self) -> bytes:
        return to_json(self._last.model_copy(update={"items": []})).removeprefix(b'{"items":[')
