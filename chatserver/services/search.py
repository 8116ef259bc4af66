"""The use case of search."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from chatserver.lanes import Lane
from chatserver.schemas import Page, SearchHit
from chatserver.services.access import Actor
from chatserver.services.snippets import make_snippet
from chatserver.services.to_wire import to_conversation, to_message
from chatserver.storage import message_rows
from chatserver.storage.conversations import Archived
from chatserver.storage.page_bytes import PAGE_BYTES
from chatserver.storage.postgres.database import Database
from chatserver.storage.postgres.heavy import HeavyCalls
from chatserver.storage.search.hits import Found, Hit, find_hits, read_hits
from chatserver.storage.search.terms import Terms, parse_terms

SearchPage = Page[SearchHit]


class SearchService:
    def __init__(self, database: Database, texts: Lane) -> None:
        """`texts` is where snippets are made: it takes long, and needs no connection."""
        self._database = database
        self._texts = texts

    async def search(
        self,
        actor: Actor,
        company_id: UUID,
        query: str,
        *,
        archived: Archived = "all",
        limit: int = 30,
        cursor: str | None = None,
    ) -> AsyncGenerator[Page[SearchHit]]:
        """The messages and titles of a company that match, best first, at most `limit`.

        They come in pages that are bounded in bytes. The texts of a page are read when it is asked for.
        Raises ForbiddenError for another company, ValidationError for a cursor of another list, UnavailableError if too
        many heavy calls wait.
        """
        actor.require_company(company_id)
        terms = parse_terms(query)
        heavy = self._database.heavy(company_id)
        found = await heavy.transaction(
            find_hits,
            company_id=company_id,
            query=query,
            terms=terms,
            archived=archived,
            limit=limit,
            cursor=cursor,
        )
        for hits, next_cursor in _batches(found):
            yield SearchPage(
                items=await self._read(heavy, company_id, hits, terms),
                has_more=next_cursor is not None,
                next_cursor=next_cursor,
            )

    async def _read(self, heavy: HeavyCalls, company_id: UUID, hits: Sequence[Hit], terms: Terms) -> list[SearchHit]:
        if not hits:
            return []
        ids = [hit.entry_id for hit in hits]
        rows = await heavy.autocommit(read_hits, company_id=company_id, entry_ids=ids)
        return await self._texts.run(company_id, partial(_with_snippets, rows, terms))


def _batches(found: Found) -> Iterator[tuple[Sequence[Hit], str | None]]:
    """The hits in pieces that are bounded in bytes, each with the cursor behind it; without hits one empty piece."""
    batch: list[Hit] = []
    size = 0
    for hit in found.hits:
        if size >= PAGE_BYTES:
            yield batch, batch[-1].cursor
            batch, size = [], 0
        batch.append(hit)
        size += hit.text_bytes
    yield batch, found.next_cursor


def _with_snippets(rows: Sequence[Row[Any]], terms: Terms) -> list[SearchHit]:
    return [_hit(row, terms) for row in rows]


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
