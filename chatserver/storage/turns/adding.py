"""Add messages, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from chatserver.message_schemas import Role
from chatserver.storage.idempotency import CLEARED_AT_ONCE, KEPT
from chatserver.storage.scope import Companies
from chatserver.storage.titles import first_line
from chatserver.storage.turns.statements import IN_SCOPE, MOVED, NAMES_IT, array, arrays, execute

# asked -> locked -> remembered (keys) -> said -> moved (named, counted) -> the messages; cleared: old keys
_ADD = f"""
WITH asked AS (
    SELECT * FROM unnest(
        %(conversations)s::uuid[], %(companies)s::text[], %(messages)s::uuid[], %(roles)s::text[],
        %(contents)s::text[], %(agents)s::uuid[], %(first_lines)s::text[], %(authors)s::text[], %(keys)s::text[],
        %(digests)s::text[]
    ) AS asked (conversation_id, companies, message_id, role, content, agent_id, first_line, author, key, digest)
), locked AS MATERIALIZED (
    SELECT asked.*, c.untitled
    FROM asked CROSS JOIN LATERAL (
        SELECT c.title IS NULL AS untitled FROM chat_conversations AS c
        WHERE c.id = asked.conversation_id AND c.deleted_at IS NULL AND {IN_SCOPE}
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS c
), remembered AS (
    INSERT INTO chat_sent_keys (conversation_id, route, key, digest, message_id, created_at)
    SELECT conversation_id, 'messages', key, decode(digest, 'hex'), message_id, clock_timestamp()
    FROM locked WHERE key <> ''
    ON CONFLICT DO NOTHING
    RETURNING message_id
), cleared AS (
    DELETE FROM chat_sent_keys WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM chat_sent_keys WHERE created_at < now() - interval '{KEPT}' ORDER BY created_at
        LIMIT (SELECT {CLEARED_AT_ONCE} * count(*) FROM asked WHERE key <> '')
        FOR UPDATE SKIP LOCKED
    ))
), said AS MATERIALIZED (
    SELECT locked.*, role = 'user' AND {NAMES_IT} AS names_it
    FROM locked WHERE key = '' OR message_id IN (SELECT message_id FROM remembered)
), {MOVED}
INSERT INTO chat_messages (id, conversation_id, position, created_at, role, content, agent_id, author)
SELECT message_id, conversation_id, last_position, updated_at, role, content, agent_id, nullif(author, '')
FROM moved JOIN said ON conversation_id = moved.id
RETURNING id, created_at
"""  # noqa: S608 (only constants are put in)


@dataclass(frozen=True, slots=True)
class MessageToAdd:
    """A message to be added. `digest`: that of the body that was sent under the idempotency key `key`.

    `author` None: who wrote it is not signed in.
    """

    companies: Companies
    conversation_id: UUID
    message_id: UUID
    role: Role
    content: str
    agent_id: UUID | None
    author: str | None = None
    key: str | None = None
    digest: bytes | None = None


def add_messages(connection: Connection, items: Sequence[MessageToAdd]) -> list[datetime | None]:
    """When each message was added. None: it was not.

    Perhaps there is no such conversation, or the message was sent before under the same idempotency key.
    """
    rows = execute(
        connection,
        _ADD,
        {
            "conversations": array(item.conversation_id for item in items),
            "companies": arrays(item.companies for item in items),
            "messages": array(item.message_id for item in items),
            "roles": array(item.role for item in items),
            "contents": [item.content for item in items],
            "agents": array(item.agent_id for item in items),
            "first_lines": [(item.role == "user" and first_line(item.content)) or "" for item in items],
            "authors": [item.author or "" for item in items],
            "keys": [item.key or "" for item in items],
            "digests": array(None if item.digest is None else item.digest.hex() for item in items),
        },
    )
    added: dict[UUID, datetime] = {row.id: row.created_at for row in rows}
    return [added.get(item.message_id) for item in items]
