"""The use cases of bookmarks. They belong to a company: everyone who sees its conversations sees them."""

from __future__ import annotations

from uuid import UUID

from chatserver.errors import NotFoundError
from chatserver.schemas import Bookmark, Page
from chatserver.services.access import Actor
from chatserver.services.to_wire import to_conversation, to_message
from chatserver.storage import bookmarks, message_rows
from chatserver.storage.postgres.database import Database

BookmarkPage = Page[Bookmark]


class BookmarkService:
    """The first argument of each method is the actor. Raises NotFoundError for what does not exist for the actor."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_bookmarks(
        self, actor: Actor, company_id: UUID, *, limit: int = 30, cursor: str | None = None, heavy: bool = False
    ) -> Page[Bookmark]:
        """A page of a company's bookmarks, the newest first, bounded in bytes. `heavy`: by the lane of heavy calls.

        Raises ForbiddenError for another company, ValidationError for a cursor of another list, and UnavailableError if
        too many heavy calls wait.
        """
        actor.require_company(company_id)
        calls = self._database.heavy(company_id) if heavy else self._database
        page = await calls.autocommit(bookmarks.list_page, company_id=company_id, limit=limit, cursor=cursor)
        items = [
            Bookmark(
                message=to_message(message_rows.message_of(row)),
                conversation=to_conversation(message_rows.conversation_of(row)),
                created_at=row.bookmarked_at,
            )
            for row in page.rows
        ]
        return BookmarkPage(items=items, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)

    async def add_bookmark(self, actor: Actor, conversation_id: UUID, message_id: UUID) -> None:
        """Set a bookmark. If there is one, its time stays. Raises NotFoundError for a superseded message."""
        if not await self._database.autocommit(bookmarks.add, actor.scope, conversation_id, message_id):
            raise NotFoundError("Message not found")

    async def remove_bookmark(self, actor: Actor, conversation_id: UUID, message_id: UUID) -> None:
        if not await self._database.autocommit(bookmarks.remove, actor.scope, conversation_id, message_id):
            raise NotFoundError("Message not found")
