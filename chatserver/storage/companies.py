"""The companies that have anything."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

# From one company to the next, by the indexes that begin with the company: nothing else is read.
_AFTER = """least(
    (SELECT company_id FROM chat_conversations WHERE company_id > {id} ORDER BY company_id LIMIT 1),
    (SELECT company_id FROM agents WHERE company_id > {id} ORDER BY company_id LIMIT 1),
    (SELECT company_id FROM api_tokens WHERE company_id > {id} ORDER BY company_id LIMIT 1)
)"""
_COMPANIES = text(
    f"""
WITH RECURSIVE found (id) AS (
    SELECT {_AFTER.format(id="'00000000-0000-0000-0000-000000000000'::uuid")}
    UNION ALL
    SELECT {_AFTER.format(id="found.id")} FROM found WHERE found.id IS NOT NULL
)
SELECT id FROM found WHERE id IS NOT NULL LIMIT :most
"""  # noqa: S608 (only constants are put in)
)


def with_anything(connection: Connection, most: int) -> Sequence[UUID]:
    """The companies that have conversations, agents or tokens, in the order of their ids; so many at most."""
    return connection.execute(_COMPANIES, {"most": most}).scalars().all()
