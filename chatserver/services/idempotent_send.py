"""Adding a message once, however often it is sent."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from chatserver.errors import NotFoundError, UnprocessableError
from chatserver.ids import uuid7
from chatserver.storage import conversations, idempotency, messages
from chatserver.storage.scope import Companies


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The name that a client gives to one sending. A key belongs to its conversation and route."""

    route: Literal["messages", "stream"]
    key: str


class Sent(NamedTuple):
    """The row of a message. `first`: it was added now, not by an earlier sending."""

    message: Any
    first: bool


def send(
    connection: Connection,
    companies: Companies,
    conversation_id: UUID,
    idempotency_key: IdempotencyKey | None,
    *,
    role: str,
    content: str,
    agent_id: UUID | None,
    author: str | None = None,
) -> Sent:
    """Add a message, unless it was added before under the same key. With a key this needs a transaction.

    `author` None: who wrote it is not signed in.

    Raises NotFoundError for an unknown conversation and for a message that was added and erased since, and
    UnprocessableError if the key was used with another body.
    """
    message_id = uuid7()
    if idempotency_key is not None:
        if not conversations.lock(connection, companies, conversation_id):
            raise NotFoundError("Conversation not found")
        digest = body_digest(role, content, agent_id)
        route, key = idempotency_key.route, idempotency_key.key
        taken = idempotency.remember(
            connection, companies, conversation_id, route, key, digest=digest, message_id=message_id
        )
        if not taken:
            return _sent_before(connection, companies, conversation_id, idempotency_key, digest)
    row = messages.insert_message(
        connection,
        companies=companies,
        conversation_id=conversation_id,
        role=role,
        content=content,
        agent_id=agent_id,
        author=author,
        message_id=message_id,
    )
    if row is None:
        raise NotFoundError("Conversation not found")
    return Sent(row, first=True)


def _sent_before(
    connection: Connection, companies: Companies, conversation_id: UUID, idempotency_key: IdempotencyKey, digest: bytes
) -> Sent:
    before = idempotency.recall(connection, conversation_id, idempotency_key.route, idempotency_key.key)
    message = None if before is None else messages.find(connection, companies, conversation_id, before.message_id)
    if before is None:
        raise NotFoundError("Conversation not found")
    if message is None:  # it was erased
        raise NotFoundError("Message not found")
    if before.digest != digest:
        raise UnprocessableError("The Idempotency-Key was used with another body")
    return Sent(message, first=False)


def body_digest(role: str, content: str, agent_id: UUID | None) -> bytes:
    """A digest of what a body means. How its JSON is written makes no difference."""
    return hashlib.sha256(json.dumps([role, content, str(agent_id)]).encode()).digest()
