"""The use case of exporting: a conversation as a file, written in batches."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from chatserver.audit_events import ConversationExported
from chatserver.errors import NotFoundError
from chatserver.lanes import Lane
from chatserver.services.access import Actor
from chatserver.services.audit import AuditLog
from chatserver.services.export_formats import WRITERS, Format
from chatserver.services.to_wire import to_conversation
from chatserver.storage import conversations, export
from chatserver.storage.postgres.database import Database
from chatserver.storage.scope import Companies

# Exports take turns after so long, or after a message that takes longer.
TURN_SECONDS = 0.02


class Export:
    """The export of one conversation."""

    def __init__(self, database: Database, texts: Lane, audit: AuditLog, row: Row[Any], format_name: Format) -> None:
        self.title: str | None = row.title
        self._calls = database.heavy(row.company_id)
        self._texts = texts
        self._row = row
        self._writer = WRITERS[format_name]()
        self._audit = audit
        self._entry = ConversationExported(company_id=row.company_id, conversation_id=row.id, format=format_name)

    async def chunks(self, *, to_nobody: bool = False) -> AsyncGenerator[bytes]:
        """The file, in pieces of about a megabyte, without messages that are added after it was opened.

        Before the first piece there is an entry in the audit log, unless it is given `to_nobody`. No database
        connection is held between two pieces. Raises DatabaseUnavailableError, and UnavailableError if too many heavy
        calls wait.
        """
        head = self._writer.head(to_conversation(self._row), datetime.now(UTC)).encode()
        chunk, position = await self._batch(0)
        goes_on = bool(chunk)
        if not to_nobody:
            await self._audit.record(self._entry)
        chunk = head + chunk
        yield chunk
        while goes_on:
            chunk, position = await self._batch(position)
            goes_on = bool(chunk)
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
        return await self._written(rows), rows[-1].position if rows else after

    async def _written(self, rows: Sequence[Row[Any]]) -> bytes:
        """The messages as text. Hostile ones take a second each, so other exports have their turns in between."""
        parts: list[str] = []
        while len(parts) < len(rows):
            parts += await self._texts.run(self._row.company_id, partial(self._write_some, rows[len(parts) :]))
        return "".join(parts).encode()

    def _write_some(self, rows: Sequence[Row[Any]]) -> list[str]:
        began = time.monotonic()
        parts: list[str] = []
        for row in rows:
            parts.append(self._writer.message(row))
            if time.monotonic() - began > TURN_SECONDS:
                break
        return parts


class ExportService:
    def __init__(self, database: Database, texts: Lane, audit: AuditLog) -> None:
        """`texts` is where the files are written: it takes long, and needs no connection."""
        self._database = database
        self._texts = texts
        self._audit = audit

    async def open_export(self, actor: Actor, conversation_id: UUID, format_name: Format) -> Export:
        """Raises NotFoundError."""
        row = await self._database.autocommit(_find, actor.scope, conversation_id)
        return Export(self._database, self._texts, self._audit, row, format_name)


def _find(connection: Connection, companies: Companies, conversation_id: UUID) -> Row[Any]:
    row = conversations.find(connection, companies, conversation_id)
    if row is None:
        raise NotFoundError("Conversation not found")
    return row
