"""The prompt of a model: questions in order, each answer after its question, the trigger last."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.base import Role, Turn
from chatserver.services.prompts import arrange

BLANK = ["", " ", "\n\t ", "\u3000"]


@dataclass(frozen=True)
class Message:
    id: UUID
    role: Role
    content: str
    reply_to: UUID | None = None


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Message], UUID]:
    """A history with a trigger.

    Messages without `reply_to` were added by people and programs. The others are answers, written at any time after
    their question. The question may be superseded since, and so not be in the history.
    """
    messages: list[Message] = []
    for number in range(draw(st.integers(1, 12))):
        content = draw(st.sampled_from([f"text {number}", f" {number} ", *BLANK]))
        questions = [message.id for message in messages if message.role == "user"]
        reply_to = draw(st.none() | st.sampled_from(questions)) if questions else None
        if draw(st.integers(0, 9)) == 0:
            reply_to = UUID(int=1_000 + number)
        role: Role = "assistant" if reply_to is not None else draw(st.sampled_from(["user", "assistant", "system"]))
        messages.append(Message(UUID(int=number + 1), role, content, reply_to))
    users = [index for index, message in enumerate(messages) if message.role == "user"]
    if not users:
        users = [len(messages)]
        messages.append(Message(UUID(int=100), "user", "?"))
    trigger = messages[draw(st.sampled_from(users))]
    if not trigger.content.strip():  # such a trigger is refused before
        messages[messages.index(trigger)] = trigger = Message(trigger.id, "user", "question")
    return messages, trigger.id


def expected(messages: list[Message], trigger_id: UUID) -> list[Message]:
    """The expected order, as the contract describes it: sorted by question, with answers after it."""
    place = {message.id: index for index, message in enumerate(messages)}
    last = place[trigger_id]

    def question(message: Message) -> int:
        return place.get(message.reply_to or message.id, place[message.id])

    read = [
        message
        for message in messages
        if question(message) <= last and message.content.strip() and message.reply_to != trigger_id
    ]
    return sorted(read, key=lambda message: (question(message), place[message.id]))


@given(histories())
def test_answers_follow_their_questions_and_the_trigger_is_last(history: tuple[list[Message], UUID]) -> None:
    messages, trigger_id = history
    turns = arrange(messages, trigger_id)
    assert list(turns) == [Turn(message.role, message.content) for message in expected(messages, trigger_id)]
    trigger = next(message for message in messages if message.id == trigger_id)
    assert turns[-1] == Turn("user", trigger.content)
    assert all(turn.content.strip() for turn in turns)


def arranged(*messages: tuple[str, Role, int | None], trigger: int) -> list[str]:
    """The contents of a prompt from the contents of messages, which are numbered from 1 and reply to numbers."""
    history = [
        Message(UUID(int=number), role, content, None if reply_to is None else UUID(int=reply_to))
        for number, (content, role, reply_to) in enumerate(messages, 1)
    ]
    return [turn.content for turn in arrange(history, UUID(int=trigger))]


def test_plain_conversation_keeps_its_order() -> None:
    plain: list[tuple[str, Role, int | None]] = [
        ("be brief", "system", None),
        ("one?", "user", None),
        ("one!", "assistant", 2),
        ("two?", "user", None),
    ]
    assert arranged(*plain, trigger=4) == ["be brief", "one?", "one!", "two?"]


def test_late_answer_is_read_before_the_next_question() -> None:
    assert arranged(("one?", "user", None), ("two?", "user", None), ("one!", "assistant", 1), trigger=2) == [
        "one?",
        "one!",
        "two?",
    ]


def test_messages_after_the_trigger_and_its_answers_are_left_out() -> None:
    assert arranged(
        ("one?", "user", None),
        ("one!", "assistant", 1),
        ("two?", "user", None),
        ("two!", "assistant", 3),
        ("by hand", "assistant", None),
        trigger=1,
    ) == ["one?"]


def test_answer_to_a_superseded_question_keeps_its_position() -> None:
    assert arranged(("orphan", "assistant", 77), ("one?", "user", None), trigger=2) == ["orphan", "one?"]


def test_white_space_is_kept_and_blank_messages_are_left_out() -> None:
    assert arranged(
        ("  a \n", "user", None), (" \n", "user", None), ("\t", "assistant", 1), ("b", "user", None), trigger=4
    ) == [
        "  a \n",
        "b",
    ]
