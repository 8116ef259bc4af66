"""The prompt of a model: the live messages of a conversation, in the order in which a model reads them."""

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
    """The turns up to and with the trigger; `history` is in the order of writing.

    Each answer stands directly after the message it answers, even if the next question was asked before it was
    written. Messages after the trigger, former answers to it, and messages without text are left out.
    """
    answers: defaultdict[UUID, list[HistoryMessage]] = defaultdict(list)
    questions: list[HistoryMessage] = []
    ids: set[UUID] = set()
    reached = False
    for message in history:
        ids.add(message.id)
        # A reply to a message that is not live any more stays where it was written.
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
