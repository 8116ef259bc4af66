"""The Idempotency-Keys of sent messages: a message that is sent again is not added again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from chatserver.storage.conversations import visible
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.tables import conversations, sent_keys

# The contract promises a day; clocks and long requests get an hour more.
KEPT = "25 hours"
# Each new key removes some expired ones, so that the table does not grow and is never scanned.
CLEARED_AT_ONCE = 10

_REMEMBER = (
    insert(sent_keys)
    .from_select(
        ["conversation_id", "route", "key", "digest", "message_id", "created_at"],
        select(
            conversations.c.id,
            bindparam("of_route", type_=sent_keys.c.route.type),
            bindparam("of_key", type_=sent_keys.c.key.type),
            bindparam("of_digest", type_=sent_keys.c.digest.type),
            bindparam("of_message", type_=sent_keys.c.message_id.type),
            func.clock_timestamp(),
        ).where(visible()),
    )
    .on_conflict_do_nothing()
    .returning(sent_keys.c.message_id)
)

_RECALL = select(sent_keys.c.digest, sent_keys.c.message_id).where(
    sent_keys.c.conversation_id == bindparam("conversation"),
    sent_keys.c.route == bindparam("of_route"),
    sent_keys.c.key == bindparam("of_key"),
)

_CLEAR = delete(sent_keys).where(
    literal_column("ctid").in_(
        select(literal_column("ctid"))
        .select_from(sent_keys)
        .where(sent_keys.c.created_at < func.now() - literal_column(f"interval '{KEPT}'"))
        .order_by(sent_keys.c.created_at)
        .limit(CLEARED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
)


def remember(
    connection: Connection,
    companies: Companies,
    conversation_id: UUID,
    route: str,
    key: str,
    *,
    digest: bytes,
    message_id: UUID,
) -> bool:
    """Take the key for a message that is about to be added; False: it is taken.

    The conversation must be locked: who adds a message in a batch does not wait for a key.
    """
    values = {
        "companies": companies_parameter(companies),
        "conversation": conversation_id,
        "of_route": route,
        "of_key": key,
        "of_digest": digest,
        "of_message": message_id,
    }
    if connection.execute(_REMEMBER, values).first() is None:
        return False
    connection.execute(_CLEAR)
    return True


def recall(connection: Connection, conversation_id: UUID, route: str, key: str) -> Any | None:
    """A row of `digest` (of the body) and `message_id` of that key."""
    named = {"conversation": conversation_id, "of_route": route, "of_key": key}
    return connection.execute(_RECALL, named).one_or_none()
