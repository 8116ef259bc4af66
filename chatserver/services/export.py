"""The use case of exporting: a conversation as a file, written in batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from chatserver.errors import NotFoundError
from chatserver.lanes import Lane
from chatserver.services.access import Actor
from chatserver.services.export_formats import WRITERS, Format, Writer
from chatserver.services.to_wire import to_conversation
from chatserver.storage import conversations, export
from chatserver.storage.postgres.database import Database
from chatserver.storage.scope import Companies


class Export:
    """The export of one conversation."""

    def __init__(self, database: Database, texts: Lane, row: Row[Any], writer: Writer) -> None:
        self.title: str | None = row.title
        self._calls = database.heavy(row.company_id)
        self._texts = texts
        self._row = row
        self._writer = writer

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The file, in pieces of about a megabyte, without messages that are added after it was opened.

        No database connection is held between two pieces. Raises DatabaseUnavailableError, and UnavailableError if too
        many heavy calls wait.
        """
        head = self._writer.head(to_conversation(self._row), datetime.now(UTC)).encode()
        chunk, position = await self._batch(0)
        yield head + chunk
        while chunk:
            chunk, position = await self._batch(position)
            yield chunk
        yield self._writer.tail().encode()

    async def _batch(self, after: int) -> tuple[bytes, int]:
        """The messages after a position as text, and the position of the last of them; empty at the end."""
        rows = await self._calls.autocommit(
            export.next_batch,
            company_id=self._row.company_id,
            conversation_id=self._row.id,
            after=after,
            last=self._row.last_position,
            superseded=self._writer.superseded,
        )
        text = await self._texts.run(self._row.company_id, partial(self._text, rows))
        return text, rows[-1].position if rows else after

    def _text(self, rows: Sequence[Row[Any]]) -> bytes:
        return "".join(map(self._writer.message, rows)).encode()


class ExportService:
    def __init__(self, database: Database, texts: Lane) -> None:
        """`texts` is where the files are written: it takes long, and needs no connection."""
        self._database = database
        self._texts = texts

    async def open_export(self, actor: Actor, conversation_id: UUID, format_name: Format) -> Export:
        """Raises NotFoundError."""
        row = await self._database.autocommit(_find, actor.scope, conversation_id)
        return Export(self._database, self._texts, row, WRITERS[format_name]())


def _find(connection: Connection, companies: Companies, conversation_id: UUID) -> Row[Any]:
    row = conversations.find(connection, companies, conversation_id)
    if row is None:
        raise NotFoundError("Conversation not found")
    return row
