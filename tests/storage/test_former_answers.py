"""The former answers of a user message: the superseded ones, as far as they still exist."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from chatserver.storage import erase, messages
from chatserver.storage.branch import branch
from chatserver.storage.restore import restore
from chatserver.storage.rewind import rewind
from tests.storage.conftest import Chat
from tests.storage.plans import nodes_of, plans, read_whole, rows_looked_at

Transaction = Callable[[], AbstractContextManager[Connection]]


class Versions:
    """Takes turns in one conversation, and lists them."""

    def __init__(self, chat: Chat, transaction: Transaction) -> None:
        self.chat = chat
        self.transaction = transaction
        self.conversation = chat.conversation()

    def answered_anew(self, question: Any, content: str, status: str = "completed") -> Any:
        self.rewind(question)
        return self.chat.answer(self.conversation, question, content, status)

    def rewind(self, question: Any) -> None:
        with self.transaction() as connection:
            rewind(connection, None, self.conversation, question.id)

    def restore(self, answer: Any) -> None:
        with self.transaction() as connection:
            restore(connection, None, self.conversation, answer.id)

    def listed(self, conversation_id: UUID | None = None, **criteria: Any) -> dict[str, Any]:
        """The ids of the former answers by the content of each message; None: it has no list of them."""
        place = conversation_id or self.conversation
        found = messages.list_page(self.chat.connection, None, place, limit=200, versions=True, **criteria)
        assert found is not None
        for row in found[0].rows:
            assert (row.former_ids is None) is (row.former_times is None)
        return {row.content: row.former_ids for row in found[0].rows}


@pytest.fixture
def versions(chat: Chat, transaction: Transaction) -> Versions:
    return Versions(chat, transaction)


def test_superseded_answers_are_told_oldest_first(chat: Chat, versions: Versions) -> None:
    question = chat.say(versions.conversation, "q")
    one = chat.answer(versions.conversation, question, "one")
    chat.say(versions.conversation, "later")
    assert versions.listed() == {"q": None, "one": None, "later": None}
    two = versions.answered_anew(question, "two", "kept")
    three = versions.answered_anew(question, "three")
    assert versions.listed() == {"q": [one.id, two.id], "three": None}
    assert versions.listed(order="desc") == {"q": [one.id, two.id], "three": None}
    versions.restore(one)
    assert versions.listed() == {"q": [two.id, three.id], "one": None, "later": None}
    versions.rewind(question)
    assert versions.listed() == {"q": [one.id, two.id, three.id]}
    found = messages.list_page(chat.connection, None, versions.conversation, limit=9, versions=True)
    assert found is not None
    (row,) = found[0].rows
    assert row.former_times == [one.created_at, two.created_at, three.created_at]


def test_runs_without_an_answer_are_no_versions(chat: Chat, versions: Versions) -> None:
    question = chat.say(versions.conversation, "q")
    for status in ("failed", "stopped", "dropped"):
        chat.run(versions.conversation, status, trigger_message_id=question.id)
    chat.answer(versions.conversation, question, "a")
    assert versions.listed() == {"q": None, "a": None}


def test_superseded_questions_keep_their_former_answers(chat: Chat, versions: Versions) -> None:
    first = chat.say(versions.conversation, "first")
    one = chat.answer(versions.conversation, first, "one")
    second = chat.say(versions.conversation, "second")
    two = chat.answer(versions.conversation, second, "two")
    three = versions.answered_anew(second, "three")
    versions.rewind(first)
    assert versions.listed() == {"first": [one.id]}
    everything = versions.listed(superseded="include")
    assert everything["second"] == [two.id, three.id]
    versions.restore(one)
    assert versions.listed() == {"first": None, "one": None, "second": [two.id], "three": None}


def test_erased_answers_are_not_told(chat: Chat, versions: Versions) -> None:
    question = chat.say(versions.conversation, "q")
    one = chat.answer(versions.conversation, question, "one")
    two = versions.answered_anew(question, "two")
    versions.answered_anew(question, "three")
    with versions.transaction() as connection:
        erase.erase_message(connection, None, versions.conversation, one.id)
    assert versions.listed() == {"q": [two.id], "three": None}


def test_branch_has_no_former_answers_until_its_own_are_superseded(chat: Chat, versions: Versions) -> None:
    question = chat.say(versions.conversation, "q")
    chat.answer(versions.conversation, question, "one")
    answer = versions.answered_anew(question, "two")
    with versions.transaction() as connection:
        made = branch(connection, None, versions.conversation, answer.id)
    assert versions.listed(made) == {"q": None, "two": None}
    copies = messages.list_page(chat.connection, None, made, limit=200)
    assert copies is not None
    asked, answered = copies[0].rows
    with versions.transaction() as connection:
        rewind(connection, None, made, asked.id)
    assert versions.listed(made) == {"q": [answered.id]}


def test_imported_answer_belongs_to_the_question_before_it(chat: Chat, versions: Versions) -> None:
    question = chat.say(versions.conversation, "q")
    chat.say(versions.conversation, "note", "system")
    imported = chat.say(versions.conversation, "imported", "assistant")
    unanswered = chat.say(versions.conversation, "unanswered")
    chat.say(versions.conversation, "last")
    chat.say(versions.conversation, "its answer", "assistant")
    new = versions.answered_anew(question, "new")
    assert versions.listed() == {"q": [imported.id], "new": None}
    versions.restore(imported)
    assert versions.listed()["q"] == [new.id]
    versions.rewind(unanswered)
    assert versions.listed()["unanswered"] is None


@pytest.mark.parametrize("planning", ["auto", "force_generic_plan"])
def test_list_reads_former_answers_by_indexes(chat: Chat, transaction: Transaction, planning: str) -> None:
    """A page of 200 questions, each with superseded and failed runs, in a long conversation beside other long ones."""
    conversation = chat.conversation()
    for place in (conversation, chat.conversation()):
        chat.connection.exec_driver_sql(
            "INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position)"
            " SELECT gen_random_uuid(), %(place)s, 'user', 'q', now(), n"
            " FROM generate_series(1, 5000) AS n",
            {"place": place},
        )
        chat.connection.exec_driver_sql(
            "WITH answers AS (INSERT INTO chat_messages"
            " (id, conversation_id, role, content, created_at, position, reply_to, superseded_at)"
            " SELECT gen_random_uuid(), conversation_id, 'assistant', 'a', now(), 5000 * version + position, id, now()"
            " FROM chat_messages, generate_series(1, 2) AS version WHERE conversation_id = %(place)s RETURNING *)"
            " INSERT INTO chat_runs (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until,"
            " started_at, answer_message_id) SELECT gen_random_uuid(), conversation_id, reply_to, 'superseded',"
            " gen_random_uuid(), 1, now(), now(), id FROM answers",
            {"place": place},
        )
        chat.connection.exec_driver_sql(
            "INSERT INTO chat_runs (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until,"
            " started_at) SELECT gen_random_uuid(), conversation_id, id, 'failed', gen_random_uuid(), 1, now(), now()"
            " FROM chat_messages WHERE conversation_id = %(place)s AND role = 'user'",
            {"place": place},
        )
    chat.connection.exec_driver_sql("ANALYZE chat_messages, chat_runs")
    with transaction() as connection:
        connection.exec_driver_sql("LOAD 'auto_explain'")
        connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {planning}")
        with plans(connection) as explained:
            found = messages.list_page(connection, None, conversation, limit=200, versions=True)
    assert found is not None
    assert [len(row.former_ids) for row in found[0].rows] == [2] * 200
    for plan in explained:
        assert read_whole(plan) == set(), plan["Query Text"]
        for node in nodes_of(plan["Plan"]):
            if "Relation Name" in node:
                assert rows_looked_at(node) <= 600, (node, plan["Query Text"])
