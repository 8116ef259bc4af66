"""Rewind and branch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, select, update

from chatserver.errors import ConflictError, NotFoundError, UnprocessableError
from chatserver.storage import branch as branching
from chatserver.storage import conversations, messages, revisions
from chatserver.storage.branch import branch as make_branch
from chatserver.storage.rewind import rewind as rewind_to
from chatserver.storage.tables import messages as message_table
from chatserver.storage.tables import runs as run_table
from tests.storage.conftest import Chat

Transaction = Callable[[], AbstractContextManager[Connection]]


@pytest.fixture
def rewind(transaction: Transaction) -> Callable[..., int]:
    def rewind(conversation_id: UUID, message_id: UUID, companies: Any = None) -> int:
        with transaction() as connection:
            return rewind_to(connection, companies, conversation_id, message_id)

    return rewind


@pytest.fixture
def branch(transaction: Transaction) -> Callable[..., UUID]:
    def branch(conversation_id: UUID, message_id: UUID, companies: Any = None) -> UUID:
        with transaction() as connection:
            return make_branch(connection, companies, conversation_id, message_id)

    return branch


def live(chat: Chat, conversation_id: UUID) -> list[str]:
    return [row.content for row in messages.history(chat.connection, conversation_id)]


def all_messages(chat: Chat, conversation_id: UUID) -> Any:
    criterion = message_table.c.conversation_id == conversation_id
    return chat.connection.execute(select(message_table).where(criterion).order_by(message_table.c.position)).all()


def runs_of(chat: Chat, conversation_id: UUID) -> Any:
    criterion = run_table.c.conversation_id == conversation_id
    return chat.connection.execute(select(run_table).where(criterion).order_by(run_table.c.started_at)).all()


# --- rewind -----------------------------------------------------------------------------------------------


def test_rewind_supersedes_all_following_messages_and_keeps_them(chat: Chat, rewind: Any) -> None:
    conversation = chat.conversation()
    first = chat.say(conversation, "q1")
    chat.answer(conversation, first, "a1")
    second = chat.say(conversation, "q2")
    chat.answer(conversation, second, "a2", status="kept")
    before = conversations.find(chat.connection, None, conversation)
    assert rewind(conversation, second.id) == 1
    assert live(chat, conversation) == ["q1", "a1", "q2"]
    assert [run.status for run in runs_of(chat, conversation)] == ["completed", "superseded"]
    assert rewind(conversation, first.id) == 2
    assert live(chat, conversation) == ["q1"]
    assert [run.status for run in runs_of(chat, conversation)] == ["superseded", "superseded"]
    assert [row.content for row in all_messages(chat, conversation)] == ["q1", "a1", "q2", "a2"]
    after = conversations.find(chat.connection, None, conversation)
    assert before is not None
    assert after is not None
    assert after.updated_at > before.updated_at
    assert rewind(conversation, first.id) == 0


def test_question_can_be_answered_again_after_rewind(chat: Chat, rewind: Any) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    chat.answer(conversation, question, "a")
    rewind(conversation, question.id)
    chat.answer(conversation, question, "another")  # the index allows one stored answer per trigger
    assert live(chat, conversation) == ["q", "another"]


def test_rewind_to_an_answer_keeps_it(chat: Chat, rewind: Any) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    answer = chat.answer(conversation, question, "a")
    chat.say(conversation, "q2")
    assert rewind(conversation, answer.id) == 1
    assert [run.status for run in runs_of(chat, conversation)] == ["completed"]


def crossed(chat: Chat) -> tuple[UUID, Any, Any, Any, Any]:
    """A conversation in which both questions were asked before either was answered; and the ids of q1, q2, a1, a2."""
    conversation = chat.conversation()
    first, second = chat.say(conversation, "q1"), chat.say(conversation, "q2")
    answers = chat.answer(conversation, first, "a1"), chat.answer(conversation, second, "a2")
    return (conversation, first, second, *answers)


@pytest.mark.parametrize(
    ("name", "stay"),
    [("q1", ["q1"]), ("a1", ["q1", "a1"]), ("q2", ["q1", "a1", "q2"]), ("a2", ["q1", "a1", "q2", "a2"])],
)
def test_rewind_follows_reading_order(chat: Chat, rewind: Any, branch: Any, name: str, stay: list[str]) -> None:
    """The answer to an earlier question stays, even if it was written after a later question."""
    conversation, *said = crossed(chat)
    message = next(each for each in said if each.content == name)
    assert sorted(live(chat, branch(conversation, message.id))) == sorted(stay)
    assert rewind(conversation, message.id) == 4 - len(stay)
    assert sorted(live(chat, conversation)) == sorted(stay)
    answered = [run.status for run in runs_of(chat, conversation)]
    assert answered.count("completed") == len({"a1", "a2"} & set(stay))


def test_rewind_is_refused_while_an_answer_is_generated(chat: Chat, rewind: Any) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    chat.say(conversation, "q2")
    chat.run(conversation, "active", trigger_message_id=question.id)
    before = conversations.find(chat.connection, None, conversation)
    with pytest.raises(ConflictError):
        rewind(conversation, question.id)
    assert live(chat, conversation) == ["q", "q2"]
    assert conversations.find(chat.connection, None, conversation) == before


def test_rewind_drops_the_run_of_a_dead_process(chat: Chat, rewind: Any) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    chat.run(conversation, "active", trigger_message_id=question.id, lease_seconds=-1)
    assert rewind(conversation, question.id) == 0
    (run,) = runs_of(chat, conversation)
    assert run.status == "dropped"
    assert run.ended_at is not None


def test_rewind_changes_no_other_conversation(chat: Chat, rewind: Any) -> None:
    here, there = chat.conversation(), chat.conversation()
    asked = [chat.say(each, "q") for each in (here, there)]
    for conversation, question in zip((here, there), asked, strict=True):
        chat.answer(conversation, question, "a")
    chat.run(there, "active", trigger_message_id=None)
    assert rewind(here, asked[0].id) == 1
    assert live(chat, there) == ["q", "a"]
    assert [run.status for run in runs_of(chat, there)] == ["completed", "active"]


@pytest.mark.parametrize("act", [rewind_to, make_branch])
def test_message_that_is_not_live_in_the_conversation_is_not_found(
    chat: Chat, transaction: Transaction, rewind: Any, act: Any
) -> None:
    conversation, other = chat.conversation(), chat.conversation()
    first, second = chat.say(conversation, "1"), chat.say(conversation, "2")
    elsewhere = chat.say(other, "x")
    rewind(conversation, first.id)
    before = conversations.find(chat.connection, None, conversation)
    for companies, named, message in (
        (None, conversation, second.id),
        (None, conversation, elsewhere.id),
        (None, conversation, uuid4()),
        (None, uuid4(), first.id),
        ([uuid4()], conversation, first.id),
    ):
        with pytest.raises(NotFoundError), transaction() as connection:
            act(connection, companies, named, message)
    assert conversations.find(chat.connection, None, conversation) == before
    conversations.soft_delete(chat.connection, None, conversation)
    with pytest.raises(NotFoundError), transaction() as connection:
        act(connection, None, conversation, first.id)


# --- branch -----------------------------------------------------------------------------------------------


def test_branch_copies_all_messages_up_to_its_message(chat: Chat, branch: Any, rewind: Any) -> None:
    agent = uuid4()
    conversation = chat.conversation(agent_id=agent)
    first = chat.say(conversation, "q1", agent_id=uuid4())
    chat.answer(conversation, first, "dropped")
    rewind(conversation, first.id)
    answer = chat.answer(conversation, first, "a1", status="kept")
    second = chat.say(conversation, "q2")
    chat.say(conversation, "q3")
    revisions.edit(chat.connection, None, conversation, first.id, "q1 edited")
    source = conversations.find(chat.connection, None, conversation)
    before = all_messages(chat, conversation)

    row = conversations.find(chat.connection, None, branch(conversation, second.id))
    assert row is not None
    assert source is not None
    assert (row.company_id, row.title, row.agent_id) == (chat.company, "q1", agent)
    assert (row.parent_conversation_id, row.branch_from_message_id) == (conversation, second.id)
    assert row.created_at == row.updated_at > source.updated_at

    copies = all_messages(chat, row.id)
    assert [copy.position for copy in copies] == [1, 2, 3]
    assert row.last_position == 3
    originals = [each for each in before if each.superseded_at is None][:3]
    assert [each.id for each in originals] == [first.id, answer.id, second.id]
    changed = {"id", "conversation_id", "position", "reply_to", "wording"}
    for copy, original in zip(copies, originals, strict=True):
        kept = set(copy._mapping) - changed
        assert {name: copy._mapping[name] for name in kept} == {name: original._mapping[name] for name in kept}
    assert copies[0].edited_content == "q1 edited"
    assert [copy.reply_to for copy in copies] == [None, copies[0].id, None]
    assert not {copy.id for copy in copies} & {each.id for each in before}

    # The original is as it was.
    assert all_messages(chat, conversation) == before
    assert conversations.find(chat.connection, None, conversation) == source
    # New messages of one do not appear in the other.
    assert chat.say(row.id, "on").position == 4


def test_answered_question_stays_answered_in_a_branch(chat: Chat, branch: Any, rewind: Any) -> None:
    conversation = chat.conversation()
    first = chat.say(conversation, "q1")
    chat.answer(conversation, first, "superseded")
    rewind(conversation, first.id)
    chat.answer(conversation, first, "a1")
    second = chat.say(conversation, "q2")
    chat.run(conversation, "failed", trigger_message_id=second.id)
    later = chat.answer(conversation, second, "a2", status="kept")
    third = chat.say(conversation, "q3")
    chat.answer(conversation, third, "a3")
    made = branch(conversation, later.id)
    copies = all_messages(chat, made)
    made_runs = runs_of(chat, made)
    assert [(run.status, run.trigger_message_id, run.answer_message_id) for run in made_runs] == [
        ("completed", copies[0].id, copies[1].id),
        ("kept", copies[2].id, copies[3].id),
    ]
    assert [copy.stop_reason for copy in copies] == [None, "stop", None, "stop"]
    assert not {run.id for run in made_runs} & {run.id for run in runs_of(chat, conversation)}


def test_copied_answer_without_its_question_replies_to_nothing(chat: Chat, branch: Any) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    answer = chat.answer(conversation, question, "a")
    chat.connection.execute(
        update(message_table).where(message_table.c.id == question.id).values(superseded_at=question.created_at)
    )
    made = branch(conversation, answer.id)
    assert [(copy.content, copy.reply_to) for copy in all_messages(chat, made)] == [("a", None)]
    assert runs_of(chat, made) == []


def test_answer_without_a_question_keeps_its_run_in_a_branch(chat: Chat, branch: Any) -> None:
    conversation = chat.conversation()
    answer = chat.say(conversation, "No message to echo.", "assistant")
    chat.run(conversation, "completed", answer_message_id=answer.id)
    made = branch(conversation, answer.id)
    (run,) = runs_of(chat, made)
    assert (run.trigger_message_id, run.answer_message_id) == (None, all_messages(chat, made)[0].id)


def test_branch_of_a_branch_names_its_parent(chat: Chat, branch: Any) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    chat.answer(conversation, question, "a")
    made = branch(conversation, question.id)
    again = branch(made, all_messages(chat, made)[0].id)
    assert live(chat, again) == ["q"]
    row = conversations.find(chat.connection, None, again)
    assert row is not None
    assert row.parent_conversation_id == made


def entries_of(chat: Chat, conversation_id: UUID) -> list[tuple[Any, ...]]:
    statement = (
        "SELECT m.position, s.company_id, s.of_title, s.said_at, s.vector FROM chat_search s"
        " LEFT JOIN chat_messages m ON m.id = s.id WHERE s.conversation_id = %s ORDER BY m.position"
    )
    return [tuple(row) for row in chat.connection.exec_driver_sql(statement, (conversation_id,))]


def test_branch_copies_entries_of_the_search(
    chat: Chat, branch: Any, rewind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branching, "BYTES_A_STATEMENT", 7)
    conversation = chat.conversation("named")
    first = chat.say(conversation, "gone")
    chat.answer(conversation, first, "gone")
    rewind(conversation, first.id)
    revisions.edit(chat.connection, None, conversation, first.id, "the red fox")
    last = first
    for number in range(5):
        last = chat.say(conversation, f"fox {number}")
    made = branch(conversation, last.id)
    copied = entries_of(chat, made)
    assert len(copied) == 1 + 6
    chat.connection.execute(
        update(message_table).where(message_table.c.conversation_id == made).values(content=message_table.c.content)
    )
    assert entries_of(chat, made) == copied  # made anew, they are the same
    chat.say(made, "said in the branch")
    chat.say(conversation, "said in its source")
    assert len(entries_of(chat, made)) == len(copied) + 1


def test_branch_makes_no_entry_anew(chat: Chat, branch: Any) -> None:
    """To find the words of 100,000 characters takes 50 ms; to copy them takes little."""
    conversation = chat.conversation("named")
    said = chat.say(conversation, "the red fox")
    chat.connection.exec_driver_sql("UPDATE chat_search SET vector = 'marked' WHERE id = %s", (said.id,))
    made = branch(conversation, said.id)
    assert {row[-1] for row in entries_of(chat, made) if row[0] is not None} == {"'marked'"}


def test_nobody_waits_for_a_branch_that_is_being_made(chat: Chat, transaction: Transaction) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    with transaction() as connection:
        make_branch(connection, None, conversation, question.id)
        chat.answer(conversation, question, "a")  # fails after 10 s if it waits
        revisions.edit(chat.connection, None, conversation, question.id, "edited")
    assert live(chat, conversation) == ["edited", "a"]


@pytest.mark.parametrize(("bound", "value"), [("MAX_MESSAGES", 3), ("MAX_BYTES", 11)])
def test_too_large_branch_is_refused(
    chat: Chat, branch: Any, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(branching, bound, value)
    conversation = chat.conversation()
    first, second, third, fourth = (chat.say(conversation, content) for content in ("äö", "1234", "12", "x"))
    revisions.edit(chat.connection, None, conversation, second.id, "1")
    assert live(chat, branch(conversation, third.id)) == ["äö", "1", "12"]
    with pytest.raises(UnprocessableError, match="Too much to copy"):
        branch(conversation, fourth.id)
    assert len(conversations.list_page(chat.connection, company_id=chat.company, limit=10).rows) == 2
    assert live(chat, branch(conversation, first.id)) == ["äö"]


def test_branch_is_made_while_an_answer_is_generated(chat: Chat, branch: Any) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    chat.run(conversation, "active", trigger_message_id=question.id)
    made = branch(conversation, question.id)
    assert runs_of(chat, made) == []
