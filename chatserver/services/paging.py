"""A page of a list for a client, read from the database in several smaller ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol, TypeVar

from chatserver.schemas import Page

T = TypeVar("T")


class ReadPage(Protocol[T]):
    async def __call__(self, *, limit: int, cursor: str | None, heavy: bool) -> Page[T]:
        """A page of a list, of at most `limit` items; `heavy`: by the lane of heavy calls."""


async def in_pages(read: ReadPage[T], limit: int, cursor: str | None) -> AsyncGenerator[Page[T]]:
    """At most `limit` items behind `cursor`, in pages that are bounded in bytes. A page is read when it is asked for.

    The first page is read at once; if there are more, their reader waits for its turn among the heavy calls. The
    receiver may empty a page's list of items, to save memory.
    """
    page = await read(limit=limit, cursor=cursor, heavy=False)
    count = len(page.items)
    left = limit - count
    yield page
    while count > 0 and left > 0 and page.next_cursor is not None:
        page = await read(limit=left, cursor=page.next_cursor, heavy=True)
        count = len(page.items)
        left -= count
        yield page
