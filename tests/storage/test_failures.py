"""The failure of a user message: its newest answer ended in an error."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from chatserver.storage import bookmarks, export, message_rows, messages, revisions
from chatserver.storage.branch import branch
from chatserver.storage.erase import erase_message
from chatserver.storage.rewind import rewind
from chatserver.storage.search.hits import read_hits
from tests.storage.conftest import Chat
from tests.storage.plans import nodes_of, plans, read_whole, rows_looked_at

Transaction = Callable[[], AbstractContextManager[Connection]]

FAILURE = ["timeout", "The model is slow"]


def fail(chat: Chat, conversation_id: UUID, question_id: UUID, code: str = FAILURE[0], error: str = FAILURE[1]) -> None:
    chat.run(conversation_id, "failed", trigger_message_id=question_id, error_code=code, error_message=error)


def listed(chat: Chat, conversation_id: UUID, **criteria: Any) -> list[Any]:
    found = messages.list_page(chat.connection, None, conversation_id, **{"limit": 200, **criteria})
    assert found is not None
    return [row.failure for row in found[0].rows]


def test_newest_run_of_a_question_decides(chat: Chat) -> None:
    conversation = chat.conversation()
    question, other = chat.say(conversation, "q"), chat.say(conversation, "another")
    assert listed(chat, conversation) == [None, None]
    fail(chat, conversation, question.id, "rate_limited", "Too many")
    assert listed(chat, conversation) == [["rate_limited", "Too many"], None]
    fail(chat, conversation, question.id)
    fail(chat, conversation, other.id, "internal", "The answer failed")
    assert listed(chat, conversation) == [FAILURE, ["internal", "The answer failed"]]


@pytest.mark.parametrize("status", ["active", "completed", "kept", "superseded", "stopped", "dropped"])
def test_failure_is_none_once_there_is_a_later_run(chat: Chat, status: str) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    fail(chat, conversation, question.id)
    chat.run(conversation, status, trigger_message_id=question.id)
    assert listed(chat, conversation) == [None]


@pytest.mark.parametrize("status", ["superseded", "stopped", "dropped"])
def test_earlier_runs_do_not_hide_a_failure(chat: Chat, status: str) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    chat.run(conversation, status, trigger_message_id=question.id)
    fail(chat, conversation, question.id)
    assert listed(chat, conversation) == [FAILURE]


def test_failure_of_an_answer_that_was_rewound_and_asked_again_is_shown(chat: Chat, transaction: Transaction) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    fail(chat, conversation, question.id, "internal", "first")
    chat.answer(conversation, question, "a")
    with transaction() as connection:
        rewind(connection, None, conversation, question.id)
    assert listed(chat, conversation) == [None]
    fail(chat, conversation, question.id)
    assert listed(chat, conversation, superseded="include") == [FAILURE, None]


def test_failure_stands_wherever_the_message_does(chat: Chat) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "question")
    answer = chat.answer(conversation, chat.say(conversation, "easy"), "answer")
    fail(chat, conversation, question.id)
    assert question.failure is None  # it was new
    for order in ("asc", "desc"):
        assert FAILURE in listed(chat, conversation, order=order)
    for message, failure in ((question, FAILURE), (answer, None)):
        for found in (
            messages.find(chat.connection, None, conversation, message.id),
            revisions.edit(chat.connection, None, conversation, message.id, message.content),
        ):
            assert found is not None
            assert found.failure == failure
        assert bookmarks.add(chat.connection, None, conversation, message.id)
    marked = bookmarks.list_page(chat.connection, company_id=chat.company, limit=10).rows
    assert [message_rows.message_of(row).failure for row in marked] == [None, FAILURE]
    hits = read_hits(chat.connection, company_id=chat.company, entry_ids=[question.id, answer.id])
    assert [message_rows.message_of(row).failure for row in hits] == [FAILURE, None]
    exported = export.next_batch(
        chat.connection,
        company_id=chat.company,
        conversation_id=conversation,
        after=0,
        last=100,
        superseded="include",
    )
    assert [row.failure for row in exported] == [FAILURE, None, None]


def test_branch_copies_a_failure_that_still_holds(chat: Chat, transaction: Transaction) -> None:
    conversation = chat.conversation()
    answered, failed, stopped = (chat.say(conversation, content) for content in ("answered", "failed", "stopped"))
    fail(chat, conversation, answered.id)
    chat.answer(conversation, answered, "a")
    fail(chat, conversation, failed.id, "internal", "first")
    fail(chat, conversation, failed.id)
    fail(chat, conversation, stopped.id)
    chat.run(conversation, "stopped", trigger_message_id=stopped.id)
    last = chat.say(conversation, "last")
    fail(chat, conversation, last.id)
    with transaction() as connection:
        made = branch(connection, None, conversation, stopped.id)
    # the answer stands at its place in the order of reading; here it was said last
    copies = {row.content: row.failure for row in rows_of(chat, made)}
    assert copies == {"answered": None, "a": None, "failed": FAILURE, "stopped": None}
    assert [row.failure for row in rows_of(chat, conversation)] == [None, FAILURE, None, None, FAILURE]


@pytest.mark.parametrize("superseded", [False, True])
def test_erased_answer_brings_no_older_failure_back(chat: Chat, transaction: Transaction, superseded: bool) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q")
    fail(chat, conversation, question.id)
    answer = chat.answer(conversation, question, "a")
    with transaction() as connection:
        if superseded:
            rewind(connection, None, conversation, question.id)
        erase_message(connection, None, conversation, answer.id)
    assert listed(chat, conversation) == [None]


def rows_of(chat: Chat, conversation_id: UUID) -> Any:
    found = messages.list_page(chat.connection, None, conversation_id, limit=200)
    assert found is not None
    return found[0].rows


@pytest.mark.parametrize("planning", ["auto", "force_generic_plan"])
def test_list_reads_failures_by_an_index(chat: Chat, transaction: Transaction, planning: str) -> None:
    """A page of 200 questions, each with failed runs, in a long conversation beside other long ones."""
    conversation = chat.conversation()
    for place in (conversation, chat.conversation()):
        chat.connection.exec_driver_sql(
            "INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position)"
            " SELECT gen_random_uuid(), %s, 'user', 'q', now(), n FROM generate_series(1, 5000) AS n",
            (place,),
        )
        chat.connection.exec_driver_sql(
            "INSERT INTO chat_runs (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until,"
            " started_at, error_code, error_message)"
            " SELECT gen_random_uuid(), m.conversation_id, m.id, 'failed', gen_random_uuid(), 1, now(),"
            " now() + n * interval '1 second', 'timeout', n::text"
            " FROM chat_messages AS m, generate_series(1, 2) AS n WHERE m.conversation_id = %s",
            (place,),
        )
    chat.connection.exec_driver_sql("ANALYZE chat_messages, chat_runs")
    with transaction() as connection:
        connection.exec_driver_sql("LOAD 'auto_explain'")
        connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {planning}")
        with plans(connection) as explained:
            found = messages.list_page(connection, None, conversation, limit=200)
    assert found is not None
    assert [row.failure for row in found[0].rows] == [["timeout", "2"]] * 200
    for plan in explained:
        assert read_whole(plan) == set(), plan["Query Text"]
        for node in nodes_of(plan["Plan"]):
            if "Relation Name" in node:
                assert rows_looked_at(node) <= 400, (node, plan["Query Text"])
