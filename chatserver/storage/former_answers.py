"""The former answers of messages: what readers leaf through beside the answer that is live."""

from __future__ import annotations

from sqlalchemy import FromClause, func, literal_column, select, union_all
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.sql.selectable import LateralFromClause

from chatserver.storage.tables import is_past, messages, runs


def former_answers_of(message: FromClause) -> LateralFromClause:
    """`former_ids` and `former_times`: ids and times of the superseded answers to a user message, oldest first.

    One row for each row of `message`, which has the columns of `messages`; null if there are none. An erased answer is
    not among them. It costs two index lookups a message, however long the conversation is.
    """
    asked = message.c.role == literal_column("'user'")
    generated = (
        select(messages.c.id, messages.c.created_at, messages.c.position)
        .join(runs, runs.c.answer_message_id == messages.c.id)
        .where(
            asked,
            runs.c.trigger_message_id == message.c.id,
            is_past(runs),
            runs.c.status == literal_column("'superseded'"),
            messages.c.superseded_at.is_not(None),
        )
        .correlate(message)
    )
    # An imported answer names no question and has no run: it answers the question that it directly follows.
    said = messages.alias("said")
    following = (
        select(said.c.id, said.c.created_at, said.c.position, said.c.role, said.c.reply_to, said.c.superseded_at)
        .where(
            asked,
            said.c.conversation_id == message.c.conversation_id,
            said.c.position > message.c.position,
            said.c.role != literal_column("'system'"),
        )
        .order_by(said.c.position)
        .limit(1)
        .correlate(message)
        .lateral("following")
    )
    imported = select(following.c.id, following.c.created_at, following.c.position).where(
        following.c.role == literal_column("'assistant'"),
        following.c.reply_to.is_(None),
        following.c.superseded_at.is_not(None),
    )
    answers = union_all(generated, imported).lateral("answers")
    by_position = answers.c.position
    return select(
        func.array_agg(aggregate_order_by(answers.c.id, by_position)).label("former_ids"),
        func.array_agg(aggregate_order_by(answers.c.created_at, by_position)).label("former_times"),
    ).lateral("former")
