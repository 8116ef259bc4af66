"""The wordings of messages: each edit adds one, and none is lost.

The first wording of a message is its `content`; each later one is a revision. A run names the revision of its trigger
that its answer belongs to, so a restored answer brings the wording back that it answered, or that it stood below when
another one took its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Uuid, any_, bindparam, exists, insert, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from chatserver.ids import uuid7
from chatserver.storage.conversations import moved, visible
from chatserver.storage.messages import failure_of
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.tables import Moment, conversations, messages, revisions, runs


def _edit() -> Any:
    """Update the conversation first: edits, claims and restorations of one conversation wait for each other."""
    edited = messages.alias()
    message_id = bindparam("message", type_=messages.c.id.type)
    touched = (
        update(conversations)
        .where(visible(), exists().where(edited.c.id == message_id, edited.c.conversation_id == conversations.c.id))
        .values(updated_at=moved())
        .returning(conversations.c.id, conversations.c.updated_at)
        .cte("touched")
    )
    changed = (
        update(messages)
        .where(messages.c.id == message_id, messages.c.conversation_id == touched.c.id)
        .values(
            edited_content=bindparam("new_content"),
            edited_at=touched.c.updated_at,
            wording=bindparam("revision", type_=messages.c.wording.type),
        )
        .returning(messages)
        .cte("changed")
    )
    added = (
        insert(revisions)
        .from_select(
            ["id", "message_id", "content", "edited_at"],
            select(changed.c.wording, changed.c.id, changed.c.edited_content, changed.c.edited_at),
        )
        .cte("added")
    )
    return select(changed, failure_of(changed)).add_cte(added)


_EDIT = _edit()


def _bring_back() -> Any:
    answer = messages.alias("answer")
    revision = revisions.alias("revision")
    answered = (
        select(answer.c.reply_to, runs.c.trigger_wording, revision.c.content, revision.c.edited_at)
        .join(runs, runs.c.answer_message_id == answer.c.id)
        .outerjoin(revision, revision.c.id == runs.c.trigger_wording)
        .where(
            runs.c.conversation_id == bindparam("conversation", type_=Uuid()),
            answer.c.id == any_(bindparam("answers", type_=ARRAY(Uuid))),
            # A branch has only one revision of each message.
            or_(runs.c.trigger_wording.is_(None), revision.c.id.is_not(None)),
        )
        .subquery("answered")
    )
    return (
        update(messages)
        .where(messages.c.id == answered.c.reply_to, messages.c.wording.is_distinct_from(answered.c.trigger_wording))
        .values(wording=answered.c.trigger_wording, edited_content=answered.c.content, edited_at=answered.c.edited_at)
    )


def _keep_present() -> Any:
    answer, question, restored = (messages.alias(name) for name in ("answer", "question", "restored"))
    return (
        update(runs)
        .where(
            runs.c.conversation_id == bindparam("conversation", type_=Uuid()),
            runs.c.answer_message_id == answer.c.id,
            answer.c.conversation_id == runs.c.conversation_id,
            answer.c.superseded_at == any_(bindparam("times", type_=ARRAY(Moment))),
            question.c.id == answer.c.reply_to,
            exists().where(
                restored.c.id == any_(bindparam("answers", type_=ARRAY(Uuid))), restored.c.reply_to == question.c.id
            ),
            runs.c.trigger_wording.is_distinct_from(question.c.wording),
        )
        .values(trigger_wording=question.c.wording)
    )


_BRING_BACK = _bring_back()
_KEEP_PRESENT = _keep_present()


def edit(
    connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID, content: str
) -> Row[Any] | None:
    """Give a message a new wording, in one statement; None: the conversation has no such message."""
    values = {
        "companies": companies_parameter(companies),
        "conversation": conversation_id,
        "message": message_id,
        "new_content": content,
        "revision": uuid7(),
    }
    row: Row[Any] | None = connection.execute(_EDIT, values).one_or_none()
    return row


def bring_back(
    connection: Connection, conversation_id: UUID, answers: Sequence[UUID], times: Sequence[datetime]
) -> None:
    """Give the questions of these answers the wordings that were answered.

    `times`: when what made way for them was superseded. Its answers to the same questions stood below the wordings that
    these have now, and bring them back in turn: a question may have been edited without being asked again.
    """
    named = {"conversation": conversation_id, "answers": list(answers)}
    connection.execute(_KEEP_PRESENT, {**named, "times": list(times)})
    connection.execute(_BRING_BACK, named)
