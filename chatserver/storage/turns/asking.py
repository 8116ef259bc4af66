"""Ask, many at once: add a question and claim its answer, both or neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from chatserver.storage.scope import Companies
from chatserver.storage.titles import first_line
from chatserver.storage.turns.claiming import CLAIMED, ROWS_OF_CLAIMS, Claimer
from chatserver.storage.turns.statements import IN_SCOPE, MOVED, NAMES_IT, array, arrays, execute

# asked -> found -> answerable -> locked -> claimed (the runs) -> said -> moved (named, counted) -> added (the messages)
_ASK = f"""
WITH asked AS (
    SELECT * FROM unnest(
        %(conversations)s::uuid[], %(companies)s::text[], %(messages)s::uuid[], %(contents)s::text[],
        %(agents)s::uuid[], %(first_lines)s::text[], %(authors)s::text[], %(runs)s::uuid[], %(continues)s::bool[],
        %(continues_for)s::text[]
    ) AS asked (
        conversation_id, companies, message_id, content, agent_id, first_line, author, run_id, continues, continues_for
    )
), found AS MATERIALIZED (
    SELECT asked.run_id, asked.continues, asked.continues_for, asked.first_line, asked.author, c.id AS conversation_id,
        c.company_id, c.ctid AS version, asked.message_id AS trigger_id, NULL::uuid AS wording, asked.content,
        asked.agent_id AS named_agent_id, coalesce(asked.agent_id, c.agent_id) AS agent_id
    FROM asked
    JOIN chat_conversations AS c ON c.id = asked.conversation_id AND c.deleted_at IS NULL AND {IN_SCOPE}
), {CLAIMED}, said AS MATERIALIZED (
    SELECT locked.*, {NAMES_IT} AS names_it
    FROM claimed JOIN locked ON run_id = id
), {MOVED}, added AS (
    INSERT INTO chat_messages (id, conversation_id, position, created_at, role, content, agent_id, author)
    SELECT trigger_id, conversation_id, last_position, updated_at, 'user', content, named_agent_id, nullif(author, '')
    FROM moved JOIN said ON conversation_id = moved.id
)
{ROWS_OF_CLAIMS}
"""  # noqa: S608 (only constants are put in)


@dataclass(frozen=True, slots=True)
class NewQuestion:
    """A user message that is to be added, and answered by the run `run_id`.

    `author` None: who wrote it is not signed in. `continues` and `continues_for`: as of `claiming.Question`.
    """

    companies: Companies
    conversation_id: UUID
    message_id: UUID
    content: str
    agent_id: UUID | None
    author: str | None
    run_id: UUID
    continues: bool
    continues_for: Sequence[UUID] | None = None


def ask(connection: Connection, items: Sequence[NewQuestion], claimer: Claimer) -> list[Any | None]:
    """Add each question and claim its answer: rows as of `claim_answers`. None: neither was done."""
    rows = execute(
        connection,
        _ASK,
        {
            "conversations": array(item.conversation_id for item in items),
            "companies": arrays(item.companies for item in items),
            "messages": array(item.message_id for item in items),
            "contents": [item.content for item in items],
            "agents": array(item.agent_id for item in items),
            "first_lines": [first_line(item.content) or "" for item in items],
            "authors": [item.author or "" for item in items],
            "runs": array(item.run_id for item in items),
            "continues": array(item.continues for item in items),
            "continues_for": arrays(item.continues_for for item in items),
            **claimer.parameters(),
        },
    )
    claimed = {row.run_id: row for row in rows}
    return [claimed.get(item.run_id) for item in items]
