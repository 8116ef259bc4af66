"""Commit answers, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection

from chatserver.storage.answers import Answer
from chatserver.storage.turns.statements import COUNTED, array, execute

# asked -> held (run and conversation locked) -> ended (the runs) -> counted (the conversations) -> the messages
_COMMIT = f"""
WITH asked AS (
    SELECT * FROM unnest(
        %(runs)s::uuid[], %(epochs)s::int[], %(messages)s::uuid[], %(contents)s::text[], %(kept)s::bool[],
        %(input_tokens)s::int[], %(output_tokens)s::int[], %(models)s::text[], %(reasons)s::text[],
        %(durations)s::int[], %(reasonings)s::text[], %(reasoning_times)s::int[]
    ) AS asked (
        run_id, epoch, message_id, content, kept, input_tokens, output_tokens, model, stop_reason, duration_ms,
        reasoning, reasoning_ms
    )
), held AS MATERIALIZED (
    SELECT asked.*, run.* FROM asked CROSS JOIN LATERAL (
        SELECT r.conversation_id, r.trigger_message_id, r.agent_id
        FROM chat_runs AS r JOIN chat_conversations AS c ON c.id = r.conversation_id
        WHERE r.id = asked.run_id AND r.owner = %(owner)s AND r.epoch = asked.epoch
            AND r.status || '' = 'active'  -- as tables.IS_ACTIVE: the run is found by its id
            AND c.deleted_at IS NULL
        FOR NO KEY UPDATE OF c, r SKIP LOCKED
    ) AS run
), ended AS (
    UPDATE chat_runs AS r SET status = CASE WHEN held.kept THEN 'kept' ELSE 'completed' END,
        answer_message_id = held.message_id, ended_at = clock_timestamp()
    FROM held WHERE r.id = held.run_id
), counted AS (
    UPDATE chat_conversations AS c SET {COUNTED}
    FROM held WHERE c.id = held.conversation_id
    RETURNING c.id, c.last_position, c.updated_at
)
INSERT INTO chat_messages (
    id, conversation_id, position, created_at, role, content, agent_id, reply_to, status, input_tokens, output_tokens,
    model, stop_reason, duration_ms, reasoning, reasoning_ms
)
SELECT message_id, conversation_id, last_position, updated_at, 'assistant', content, agent_id, trigger_message_id,
    CASE WHEN kept THEN 'stopped' ELSE 'completed' END, input_tokens, output_tokens,
    nullif(model, ''), stop_reason, duration_ms, nullif(reasoning, ''), reasoning_ms
FROM counted JOIN held ON held.conversation_id = counted.id
RETURNING id
"""  # noqa: S608 (only constants are put in)


def commit_answers(connection: Connection, items: Sequence[Answer], *, owner: UUID) -> list[bool]:
    """Store each answer and end its run, all or nothing; whether that happened now.

    False: perhaps it happened before, the run is `owner`'s no more, or the conversation was deleted.
    """
    # The end of a run removes its followers, whose processes lock them in the same order (`storage/frames.py`).
    ordered = sorted(items, key=lambda item: item.run_id)
    rows = execute(
        connection,
        _COMMIT,
        {
            "runs": array(item.run_id for item in ordered),
            "epochs": array(item.epoch for item in ordered),
            "messages": array(item.message_id for item in ordered),
            "contents": [item.content for item in ordered],
            "kept": array(item.kept for item in ordered),
            "input_tokens": array(item.input_tokens for item in ordered),
            "output_tokens": array(item.output_tokens for item in ordered),
            "models": [item.model or "" for item in ordered],
            "reasons": [item.stop_reason for item in ordered],
            "durations": array(item.duration_ms for item in ordered),
            "reasonings": [item.reasoning or "" for item in ordered],
            "reasoning_times": array(item.reasoning_ms for item in ordered),
            "owner": owner,
        },
    )
    stored = {row.id for row in rows}
    return [item.message_id in stored for item in items]
