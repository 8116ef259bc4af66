"""Bookmarks over HTTP."""

from __future__ import annotations

from functools import partial

from chatserver.services.access import Need
from chatserver.services.paging import in_pages
from chatserver.web.http.base_handler import ApiHandler
from chatserver.web.http.list_handler import ListHandler
from chatserver.web.http.parsing import parse_id
from chatserver.web.openapi.queries import ListBookmarks


class BookmarksHandler(ListHandler, GET=Need.READER):
    async def get(self, company_id: str) -> None:
        company, query = parse_id(company_id), self.query(ListBookmarks)
        read = partial(self.context.bookmarks.list_bookmarks, self.actor, company)
        await self.write_list(in_pages(read, query.limit, query.cursor), company)


class BookmarkHandler(ApiHandler, PUT=Need.MEMBER, DELETE=Need.MEMBER):
    async def put(self, conversation_id: str, message_id: str) -> None:
        conversation, message = parse_id(conversation_id), parse_id(message_id)
        await self.context.bookmarks.add_bookmark(self.actor, conversation, message)
        self.write_nothing()

    async def delete(self, conversation_id: str, message_id: str) -> None:
        conversation, message = parse_id(conversation_id), parse_id(message_id)
        await self.context.bookmarks.remove_bookmark(self.actor, conversation, message)
        self.write_nothing()
