"""Store the answer of a run, and end the run with it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from chatserver.storage.messages import insert_message
from chatserver.storage.questions import lock_conversation_of
from chatserver.storage.runs import complete, end_run, lock_run


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a run, to be stored as the message `message_id`."""

    run_id: UUID
    epoch: int
    message_id: UUID
    content: str
    kept: bool
    input_tokens: int | None
    output_tokens: int | None
    model: str | None
    stop_reason: str | None
    duration_ms: int | None
    reasoning: str | None
    reasoning_ms: int | None


def commit(connection: Connection, answer: Answer, owner: UUID) -> bool:
    """Store the answer of a run and end the run, in one transaction of the caller; False behind the fence.

    True, too, if the same `message_id` was committed before. If the conversation was deleted, the run is stopped.
    """
    run_id, epoch, message_id = answer.run_id, answer.epoch, answer.message_id
    lock_conversation_of(connection, run_id)
    run = lock_run(connection, run_id, owner, epoch)
    if run is None:
        return False
    if run.answer_message_id == message_id:
        # The try before took effect; only its confirmation was lost.
        return True
    if run.status != "active" or not run.ours:
        return False
    stored = insert_message(
        connection,
        companies=None,
        conversation_id=run.conversation_id,
        role="assistant",
        content=answer.content,
        agent_id=run.agent_id,
        reply_to=run.trigger_message_id,
        status="stopped" if answer.kept else "completed",
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        model=answer.model,
        stop_reason=answer.stop_reason,
        duration_ms=answer.duration_ms,
        reasoning=answer.reasoning,
        reasoning_ms=answer.reasoning_ms,
        message_id=message_id,
    )
    if stored is None:
        end_run(connection, run_id, owner, epoch, "stopped")
        return False
    complete(connection, run_id, owner, epoch, message_id=message_id, kept=answer.kept)
    return True
