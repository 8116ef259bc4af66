"""Reading a conversation from beginning to end, in batches that are bounded in rows and in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, bindparam, func, select

from chatserver.storage.messages import TEXTS, Superseded, failure_of, live
from chatserver.storage.page_bytes import text_bytes
from chatserver.storage.tables import agents, messages

BATCH_ROWS = 500
# A longer message is a batch of its own.
BATCH_BYTES = 1 << 20


@cache
def _batch(superseded: Superseded) -> Select[Any]:
    size = text_bytes(*TEXTS)
    rows = (
        select(messages, (func.sum(size).over(order_by=messages.c.position) - size).label("bytes_before"))
        .where(
            messages.c.conversation_id == bindparam("conversation"),
            messages.c.position > bindparam("after"),
            messages.c.position <= bindparam("last"),
        )
        .order_by(messages.c.position)
        .limit(BATCH_ROWS)
    )
    if superseded == "exclude":
        rows = rows.where(live())
    batch = rows.subquery("batch")
    # Deleted agents still have a name. The company is compared because `agent_id` may name any agent.
    agent = (agents.c.id == batch.c.agent_id) & (agents.c.company_id == bindparam("company"))
    return (
        select(batch, failure_of(batch), agents.c.name.label("agent_name"))
        .select_from(batch.outerjoin(agents, agent))
        .where(batch.c.bytes_before < BATCH_BYTES)
        .order_by(batch.c.position)
    )


def next_batch(
    connection: Connection,
    *,
    company_id: UUID,
    conversation_id: UUID,
    after: int,
    last: int,
    superseded: Superseded,
) -> Sequence[Row[Any]]:
    """The first messages with positions after `after`, up to `last`; empty at the end.

    Rows of `storage.messages` with `agent_name`, None: the company has no such agent.
    """
    values = {
        "company": company_id,
        "conversation": conversation_id,
        "after": after,
        "last": last,
    }
    return connection.execute(_batch(superseded), values).all()
