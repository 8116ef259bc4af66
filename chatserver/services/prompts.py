"""What a model gets to read: the live messages of a conversation, arranged for the question at its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol
from uuid import UUID

from chatserver.providers.base import Role, Turn


class HistoryMessage(Protocol):
    """A live message; `content` is the effective one."""

    @property
    def id(self) -> UUID: ...
    @property
    def role(self) -> Any: ...
    @property
    def content(self) -> str: ...
    @property
    def reply_to(self) -> UUID | None: ...


def arrange(history: Iterable[HistoryMessage], trigger_id: UUID) -> tuple[Turn, ...]:
    """The turns up to and with the trigger, from messages in the order in which they were written.

    Each answer stands directly after the message it answers, also one that was written when the next question was
    asked already. What follows the trigger, its own former answers and messages without any text are left out.
    """
    answers: defaultdict[UUID, list[HistoryMessage]] = defaultdict(list)
    questions: list[HistoryMessage] = []
    ids: set[UUID] = set()
    reached = False
    for message in history:
        ids.add(message.id)
        # A reply whose question is not live any more stands where it was written.
        if message.reply_to is not None and message.reply_to in ids:
            answers[message.reply_to].append(message)
        elif not reached:
            questions.append(message)
            reached = message.id == trigger_id
    turns: list[Turn] = []
    for message in questions:
        if message.content.strip():
            turns.append(_turn(message))
        if message.id != trigger_id:
            turns.extend(_turn(answer) for answer in answers[message.id] if answer.content.strip())
    return tuple(turns)


def _turn(message: HistoryMessage) -> Turn:
    role: Role = message.role
    return Turn(role, message.content)
