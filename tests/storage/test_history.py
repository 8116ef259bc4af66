"""What a model reads before a question: answers after their questions, the newest messages that fit, whole ones."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, text, update

from chatserver.storage.history import read_before
from chatserver.storage.tables import messages as message_table
from tests.storage.conftest import Chat

PLENTY = 1_000_000
BLANK = [" ", "\n\t ", "\u3000"]


@dataclass(frozen=True)
class Written:
    """A message to be written; `reply_to` is the index of the message that it answers."""

    role: str
    content: str
    reply_to: int | None = None
    superseded: bool = False
    edited: str | None = None

    @property
    def effective(self) -> str:
        return self.content if self.edited is None else self.edited


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Written], int]:
    """A conversation, and the index of its trigger.

    Answers are written at any time after their question, which may be superseded since.
    """
    written: list[Written] = []
    for number in range(draw(st.integers(1, 10))):
        contents = st.sampled_from([f"text {number}", f" {number} ", f"😀é{number}" * 3, *BLANK])
        questions = [index for index, message in enumerate(written) if message.role == "user"]
        reply_to = draw(st.none() | st.sampled_from(questions)) if questions else None
        role = "assistant" if reply_to is not None else draw(st.sampled_from(["user", "assistant", "system"]))
        edited = draw(st.none() | contents)
        written.append(Written(role, draw(contents), reply_to, draw(st.integers(0, 4)) == 0, edited))
    live_users = [index for index, message in enumerate(written) if message.role == "user" and not message.superseded]
    if not live_users:
        live_users = [len(written)]
        written.append(Written("user", "?"))
    return written, draw(st.sampled_from(live_users))


def expected(written: list[Written], trigger: int, max_chars: int) -> list[str]:
    """What the contract promises, told in another way: sorted by question, cut from the newest back."""
    live = [index for index, message in enumerate(written) if not message.superseded]

    def question(index: int) -> int:
        answered = written[index].reply_to
        return index if answered is None or written[answered].superseded else answered

    before = sorted((index for index in live if question(index) < trigger), key=lambda index: (question(index), index))
    fitting: list[str] = []
    for index in reversed(before):
        max_chars -= len(written[index].effective)
        if max_chars < 0:
            break
        fitting.insert(0, written[index].effective)
    return [content for content in fitting if content.strip()]


def write(chat: Chat, written: list[Written]) -> tuple[UUID, list[UUID]]:
    """A conversation with these messages, and the messages' ids."""
    conversation = chat.conversation()
    ids: list[UUID] = []
    for message in written:
        reply_to = None if message.reply_to is None else ids[message.reply_to]
        ids.append(chat.say(conversation, message.content, message.role, reply_to=reply_to).id)
        if message.superseded or message.edited is not None:
            values = {
                "superseded_at": func.now() if message.superseded else None,
                "edited_content": message.edited,
                "edited_at": None if message.edited is None else func.now(),
            }
            chat.connection.execute(update(message_table).where(message_table.c.id == ids[-1]).values(**values))
    return conversation, ids


def contents(chat: Chat, written: list[Written], trigger: int, max_chars: int = PLENTY) -> list[str]:
    conversation, ids = write(chat, written)
    return [row.content for row in read_before(chat.connection, conversation, ids[trigger], max_chars=max_chars)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conversations(), st.integers(0, 60))
def test_answers_follow_their_questions_and_the_newest_messages_that_fit_are_read(
    chat: Chat, drawn: tuple[list[Written], int], max_chars: int
) -> None:
    written, trigger = drawn
    assert contents(chat, written, trigger) == expected(written, trigger, PLENTY)
    assert contents(chat, written, trigger, max_chars) == expected(written, trigger, max_chars)


def test_late_answer_is_read_before_the_next_question(chat: Chat) -> None:
    written = [Written("user", "one?"), Written("user", "two?"), Written("assistant", "one!", 0), Written("user", "3?")]
    assert contents(chat, written, 1) == ["one?", "one!"]
    assert contents(chat, written, 3) == ["one?", "one!", "two?"]


def test_messages_after_the_trigger_and_its_answers_are_left_out(chat: Chat) -> None:
    written = [Written("user", "one?"), Written("assistant", "one!", 0), Written("assistant", "by hand")]
    assert contents(chat, written, 0) == []


def test_answer_to_a_superseded_question_keeps_its_position(chat: Chat) -> None:
    written = [Written("user", "gone", superseded=True), Written("assistant", "orphan", 0), Written("user", "one?")]
    assert contents(chat, written, 2) == ["orphan"]


@pytest.mark.parametrize(
    ("max_chars", "read"),
    [(9, ["aaa", "bbb", "ccc"]), (8, ["bbb", "ccc"]), (6, ["bbb", "ccc"]), (5, ["ccc"]), (2, []), (0, [])],
)
@pytest.mark.parametrize("letter", ["", "😀"])
def test_messages_are_left_out_whole_and_the_oldest_first(
    chat: Chat, max_chars: int, read: list[str], letter: str
) -> None:
    def spelled(content: str) -> str:
        return content.replace("b", letter) if letter else content

    written = [Written("user", spelled(content)) for content in ("aaa", "bbb", "ccc", "question")]
    assert contents(chat, written, 3, max_chars) == list(map(spelled, read))


def test_message_that_does_not_fit_ends_the_history(chat: Chat) -> None:
    """A shorter message before it would fit, but stand without what followed it."""
    written = [Written("user", "a"), Written("user", "b" * 50), Written("user", "c"), Written("user", "?")]
    assert contents(chat, written, 3, 20) == ["c"]


def test_texts_that_do_not_fit_are_not_read(chat: Chat) -> None:
    """PostgreSQL keeps long texts in a table of their own, and counts the blocks that it reads there."""
    conversation = chat.conversation()
    for _ in range(40):
        # random, so that it cannot be compressed
        random = "SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 1000)"
        chat.say(conversation, chat.connection.execute(text(random)).scalar_one())
    trigger = chat.say(conversation, "?")

    def blocks_read(max_chars: int) -> tuple[int, int]:
        """How many messages are read, and from how many blocks."""
        before = blocks_of_long_texts(chat)
        rows = read_before(chat.connection, conversation, trigger.id, max_chars=max_chars)
        return len(rows), blocks_of_long_texts(chat) - before

    few, blocks_of_few = blocks_read(70_000)
    many, blocks_of_many = blocks_read(PLENTY * 2)
    assert (few, many) == (2, 40)
    # In a text of this alphabet each character is one byte: up to four times as much as fits is looked at.
    assert 0 < blocks_of_few <= blocks_of_many / 3


def blocks_of_long_texts(chat: Chat) -> int:
    chat.connection.execute(text("SELECT pg_stat_force_next_flush()"))
    statement = text(
        "SELECT toast_blks_read + toast_blks_hit FROM pg_statio_user_tables WHERE relname = 'chat_messages'"
    )
    return int(chat.connection.execute(statement).scalar_one())
