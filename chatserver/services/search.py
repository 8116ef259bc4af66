"""The use case of search."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from chatserver.schemas import Page, SearchHit
from chatserver.services.access import Actor
from chatserver.services.snippets import make_snippet
from chatserver.services.to_wire import to_conversation, to_message
from chatserver.storage import message_rows
from chatserver.storage.postgres.database import Database
from chatserver.storage.search.hits import search_page
from chatserver.storage.search.terms import Terms, parse_terms

SearchPage = Page[SearchHit]


class SearchService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def search(
        self, actor: Actor, company_id: UUID, query: str, *, limit: int = 30, cursor: str | None = None
    ) -> Page[SearchHit]:
        """A page of the messages and titles of a company that match, best first.

        Raises ForbiddenError for another company, ValidationError for a cursor of another list.
        """
        actor.require_company(company_id)
        return await self._database.transaction(_search, company_id, query, limit, cursor)


def _search(connection: Connection, company_id: UUID, query: str, limit: int, cursor: str | None) -> Page[SearchHit]:
    terms = parse_terms(query)
    page = search_page(connection, company_id=company_id, query=query, terms=terms, limit=limit, cursor=cursor)
    items = [_hit(row, terms) for row in page.rows]
    return SearchPage(items=items, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)


def _hit(row: Row[Any], terms: Terms) -> SearchHit:
    conversation = to_conversation(message_rows.conversation_of(row))
    if not message_rows.has_message(row):
        return SearchHit(
            message=None,
            conversation=conversation,
            snippet=make_snippet(conversation.title or "", terms.wanted),
        )
    message = to_message(message_rows.message_of(row))
    return SearchHit(
        message=message, conversation=conversation, snippet=make_snippet(message.effective_content, terms.wanted)
    )
