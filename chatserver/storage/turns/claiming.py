"""Claim answers, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from chatserver.sse import FIRST_EPOCH
from chatserver.storage.scope import Companies
from chatserver.storage.titles import WHITE_SPACE
from chatserver.storage.turns.statements import FOR_EACH_ROW, IN_SCOPE, array, arrays, execute

# Longer ones are left out: all others of the batch would wait until they are read. A batch may read MAX_BATCH of them:
# MAX_BATCH_CHARS bounds only the texts that it brings.
LONGEST_QUESTION_BYTES = 65_536

ROWS_OF_CLAIMS = """
SELECT run_id, company_id, trigger_id, content, adapter_type, adapter_config
FROM claimed JOIN locked ON run_id = id
"""

CLAIMED = f"""
answerable AS MATERIALIZED (
    SELECT found.*, agent.adapter_type, agent.adapter_config
    FROM found LEFT JOIN LATERAL (SELECT * FROM agents WHERE id = found.agent_id {FOR_EACH_ROW}) AS agent
    ON agent.company_id = found.company_id AND agent.deleted_at IS NULL
    WHERE octet_length(found.content) <= {LONGEST_QUESTION_BYTES} AND CASE
        WHEN agent.adapter_type = 'echo' OR (agent.id IS NULL AND NOT %(default_needs_text)s) THEN true
        ELSE btrim(found.content, %(blank)s) <> ''
            AND (
                agent.id IS NULL OR agent.adapter_config ->> 'provider' = ANY (%(providers)s::text[])
                OR concat(found.company_id, ' ', agent.adapter_config ->> 'provider')
                    = ANY (%(company_providers)s::text[])
            )
        END
    AND NOT EXISTS (
        SELECT FROM chat_runs AS r WHERE r.conversation_id = found.conversation_id AND r.status = 'active'
        {FOR_EACH_ROW}
    ) AND NOT EXISTS (
        SELECT FROM chat_runs AS r WHERE r.conversation_id = found.conversation_id
            AND r.trigger_message_id = found.trigger_id AND r.status IN ('active', 'completed', 'kept')
        {FOR_EACH_ROW}
    ) AND NOT EXISTS (
        SELECT FROM chat_queue AS q WHERE q.conversation_id = found.conversation_id {FOR_EACH_ROW}
    )
), locked AS MATERIALIZED (
    SELECT answerable.*, c.version = answerable.version AS unchanged, c.untitled
    FROM answerable CROSS JOIN LATERAL (
        SELECT c.ctid AS version, c.title IS NULL AS untitled FROM chat_conversations AS c
        WHERE c.id = answerable.conversation_id
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS c
), claimed AS (
    INSERT INTO chat_runs (
        id, conversation_id, trigger_message_id, trigger_wording, agent_id, status, owner, epoch, lease_until,
        continues, continues_for, started_at
    )
    SELECT run_id, conversation_id, trigger_id, wording, agent_id, 'active', %(owner)s, {FIRST_EPOCH},
        clock_timestamp() + %(lease_seconds)s * interval '1 second', continues, continues_for::uuid[],
        clock_timestamp()
    FROM locked WHERE unchanged
    ON CONFLICT DO NOTHING
    RETURNING id
)
"""  # noqa: S608 (only constants are put in)
"""Claims the questions in `found`: those that can be answered, in conversations that nobody else works on.

`found` has `run_id continues continues_for conversation_id company_id version trigger_id wording content agent_id`;
`version` is the `ctid` of the conversation, `wording` that of the question. `locked` then has these and `adapter_type
adapter_config unchanged untitled`, and `claimed` has the `id` of each run that was claimed.
"""

# asked -> found -> answerable -> locked -> claimed (the runs)
_CLAIM = f"""
WITH asked AS (
    SELECT * FROM unnest(
        %(conversations)s::uuid[], %(companies)s::text[], %(triggers)s::uuid[], %(runs)s::uuid[], %(continues)s::bool[],
        %(continues_for)s::text[]
    ) AS asked (conversation_id, companies, trigger_id, run_id, continues, continues_for)
), found AS MATERIALIZED (
    SELECT asked.run_id, asked.continues, asked.continues_for, c.id AS conversation_id, c.company_id, c.ctid AS version,
        question.id AS trigger_id, question.wording, question.content,
        coalesce(question.agent_id, c.agent_id) AS agent_id
    FROM asked
    JOIN chat_conversations AS c ON c.id = asked.conversation_id AND c.deleted_at IS NULL AND {IN_SCOPE}
    CROSS JOIN LATERAL (
        SELECT m.id, m.agent_id, m.wording, coalesce(m.edited_content, m.content) AS content FROM chat_messages AS m
        WHERE m.id = asked.trigger_id AND m.conversation_id = c.id AND m.role = 'user' AND m.superseded_at IS NULL
        UNION ALL (
            SELECT m.id, m.agent_id, m.wording, coalesce(m.edited_content, m.content) FROM chat_messages AS m
            WHERE asked.trigger_id IS NULL
                AND m.conversation_id = c.id AND m.role = 'user' AND m.superseded_at IS NULL
            ORDER BY m.position DESC LIMIT 1
        )
    ) AS question
), {CLAIMED}
{ROWS_OF_CLAIMS}
"""  # noqa: S608 (only constants are put in)


@dataclass(frozen=True, slots=True)
class Question:
    """A user message to be answered by the run `run_id`; `trigger_id` None: the newest live one.

    `continues`: the run goes on without readers; `continues_for` are the tokens that ask for it, None: no token is
    asked for.
    """

    companies: Companies
    conversation_id: UUID
    trigger_id: UUID | None
    run_id: UUID
    continues: bool
    continues_for: Sequence[UUID] | None = None


@dataclass(frozen=True, slots=True)
class Claimer:
    """A process that claims, and what it can answer: for the agents that name one of its providers.

    `providers`: those that all companies may use; `company_providers`: which others which company may use.
    `default_needs_text`: in some company its provider for agents that are not registered answers no blank question. The
    others are not asked for blank ones here.
    """

    owner: UUID
    lease_seconds: float
    providers: Sequence[str]
    company_providers: Sequence[tuple[UUID, str]]
    default_needs_text: bool

    def parameters(self) -> dict[str, Any]:
        """The parameters of `CLAIMED`."""
        return {
            "owner": self.owner,
            "lease_seconds": self.lease_seconds,
            "providers": list(self.providers),
            # A provider's name has no space.
            "company_providers": [f"{company} {name}" for company, name in self.company_providers],
            "default_needs_text": self.default_needs_text,
            # A question of such characters alone is none.
            "blank": WHITE_SPACE,
        }


def claim_answers(connection: Connection, items: Sequence[Question], claimer: Claimer) -> list[Any | None]:
    """Claim an answer to each question: a row of `company_id trigger_id content adapter_type adapter_config`.

    The last two are those of the agent, None if it is not registered. None: the answer was not claimed. Perhaps
    another one is being generated, the question has an answer, or there is nothing that could be answered.
    """
    rows = execute(
        connection,
        _CLAIM,
        {
            "conversations": array(item.conversation_id for item in items),
            "companies": arrays(item.companies for item in items),
            "triggers": array(item.trigger_id for item in items),
            "runs": array(item.run_id for item in items),
            "continues": array(item.continues for item in items),
            "continues_for": arrays(item.continues_for for item in items),
            **claimer.parameters(),
        },
    )
    claimed = {row.run_id: row for row in rows}
    return [claimed.get(item.run_id) for item in items]
