"""Erasing: nothing of an erased text is left, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, select, text, update

from chatserver.errors import ConflictError, NotFoundError
from chatserver.services.idempotent_send import IdempotencyKey, send
from chatserver.storage import bookmarks, conversations, erase
from chatserver.storage.branch import branch
from chatserver.storage.sharing_tables import waiting
from chatserver.storage.tables import conversations as conversation_table
from chatserver.storage.tables import messages as message_table
from chatserver.storage.tables import metadata
from chatserver.storage.tables import runs as run_table
from tests.storage.conftest import Chat
from tests.storage.test_restore import Versions

Transaction = Callable[[], AbstractContextManager[Connection]]
SECRET = "xyzzy"


@pytest.fixture
def versions(chat: Chat, transaction: Transaction) -> Versions:
    return Versions(chat, transaction)


@pytest.fixture
def erase_it(versions: Versions, transaction: Transaction) -> Callable[[str], None]:
    def erase_it(name: str) -> None:
        with transaction() as connection:
            erase.erase_message(connection, None, versions.id, versions.rows()[name].id)

    return erase_it


@pytest.fixture
def erase_conversation(transaction: Transaction) -> Callable[[UUID], None]:
    def erase_conversation(conversation_id: UUID) -> None:
        with transaction() as connection:
            erase.hide_conversation(connection, None, conversation_id)
        with transaction() as connection:
            erase.erase_conversation(connection, None, conversation_id)

    return erase_conversation


def found_in(connection: Connection, word: str) -> set[str]:
    """The columns of all tables in which the word is, whatever their type."""
    found = set()
    for table in metadata.sorted_tables:
        for column in table.columns:
            statement = text(f'SELECT count(*) FROM "{table.name}" WHERE "{column.name}"::text LIKE :pattern')
            if connection.execute(statement, {"pattern": f"%{word}%"}).scalar_one():
                found.add(f"{table.name}.{column.name}")
    return found


def rows_of(connection: Connection, conversation_id: UUID) -> dict[str, int]:
    """How many rows of each table belong to a conversation."""
    own = select(message_table.c.id).where(message_table.c.conversation_id == conversation_id)
    counts = {}
    for table in metadata.sorted_tables:
        if table is waiting:
            continue  # places of answers that wait: their processes give them up
        if table is conversation_table:
            criterion = table.c.id == conversation_id
        elif "conversation_id" in table.c:
            criterion = table.c.conversation_id == conversation_id
        elif "message_id" in table.c:
            criterion = table.c.message_id.in_(own)
        else:
            continue
        counts[table.name] = len(connection.execute(select(table).where(criterion)).all())
    return counts


def state(versions: Versions, names: set[str]) -> Any:
    return {name: row for name, row in versions.rows().items() if name in names}


def title(versions: Versions) -> str | None:
    row = conversations.find(versions.chat.connection, None, versions.id)
    assert row is not None
    found: str | None = row.title
    return found


def send_it(connection: Connection, conversation_id: UUID, content: str) -> None:
    key = IdempotencyKey("messages", "a key")
    send(connection, None, conversation_id, key, role="user", content=content, agent_id=None)


def secret_question(versions: Versions, transaction: Transaction) -> str:
    """A question with the secret in all that can be made of it; its name."""
    question, chat = f"{SECRET}q", versions.chat
    with transaction() as connection:
        send_it(connection, versions.id, question)
    versions.answer(question, f"{SECRET}a1")
    versions.ask("after a1")
    for number in (2, 3):
        versions.edit(question, f"{SECRET}e{number}")
        versions.rewind(question)
        versions.answer(question, f"{SECRET}a{number}")
    row = versions.rows()[question]
    chat.run(versions.id, "failed", trigger_message_id=row.id, error_message=SECRET)
    assert bookmarks.add(chat.connection, None, versions.id, row.id)
    return question


def test_nothing_of_an_erased_message_is_left(versions: Versions, transaction: Transaction, erase_it: Any) -> None:
    question = secret_question(versions, transaction)
    versions.ask("later")
    connection = versions.chat.connection
    assert {"chat_conversations.title", "chat_messages.edited_content", "chat_message_revisions.content"} <= found_in(
        connection, SECRET
    )
    before = state(versions, {"later"})
    erase_it(question)
    assert found_in(connection, SECRET) == set()
    assert state(versions, {"later"}) == before
    assert versions.read() == ["later"]
    assert title(versions) == "later"
    digests = connection.execute(
        text("SELECT digest FROM chat_sent_keys WHERE conversation_id = :id"), {"id": versions.id}
    )
    assert digests.scalars().all() == [b""]


def test_message_that_is_sent_again_after_it_was_erased_does_not_come_back(
    versions: Versions, transaction: Transaction, erase_it: Any
) -> None:
    question = secret_question(versions, transaction)
    erase_it(question)
    with pytest.raises(NotFoundError, match="Message"), transaction() as connection:
        send_it(connection, versions.id, question)
    assert found_in(versions.chat.connection, SECRET) == set()


def test_erased_answer_leaves_its_question(versions: Versions, erase_it: Any) -> None:
    versions.ask("q1")
    versions.answer("q1", "a1")
    versions.ask("q2")
    before = conversations.find(versions.chat.connection, None, versions.id)
    erase_it("a1")
    assert versions.read() == ["q1", "q2"]
    assert versions.statuses() == {}
    assert conversations.find(versions.chat.connection, None, versions.id) == before
    versions.answer("q1", "b1")  # it can be answered again


def test_what_followed_an_erased_message_can_still_be_restored(versions: Versions, erase_it: Any) -> None:
    versions.ask("q0")
    versions.ask("q1")
    versions.answer("q1", "a1")
    versions.ask("q2")
    versions.rewind("a1")
    versions.ask("q3")
    versions.rewind("q1")
    versions.answer("q1", "b1")
    versions.ask("q4")
    versions.rewind("q0")
    versions.ask("q5")
    erase_it("q1")
    assert set(versions.rows()) == {"q0", "q2", "q3", "q4", "q5"}
    for name in ("q2", "q3", "q4", "q5", "q3"):
        versions.restore(name)
        assert versions.read() == ["q0", name]
    erase_it("q0")
    versions.restore("q2")
    assert versions.read() == ["q2"]


def test_title_is_taken_anew_only_if_it_was_taken_from_the_message(versions: Versions, erase_it: Any) -> None:
    for name in ("one", "two", "three"):
        versions.ask(name)
    versions.edit("two", "two, edited\nmore")
    erase_it("one")
    assert title(versions) == "two, edited"
    erase_it("three")
    assert title(versions) == "two, edited"
    conversations.change(versions.chat.connection, None, versions.id, {"title": "mine"})
    erase_it("two")
    assert title(versions) == "mine"
    conversations.change(versions.chat.connection, None, versions.id, {"title": None})
    versions.ask("four")
    conversations.change(versions.chat.connection, None, versions.id, {"title": "four"})
    erase_it("four")
    assert title(versions) is None


def test_title_of_an_erased_message_is_gone_whichever_was_the_first(versions: Versions, erase_it: Any) -> None:
    versions.chat.say(versions.id, "system", "system")
    for name in ("q0", "q1", f"{SECRET} q2"):
        versions.ask(name)
        versions.rewind("system")
    erase_it("q0")
    versions.restore(f"{SECRET} q2")
    conversations.change(versions.chat.connection, None, versions.id, {"title": f"{SECRET} q2"})
    versions.restore("q1")
    erase_it(f"{SECRET} q2")
    assert title(versions) == "q1"
    assert found_in(versions.chat.connection, SECRET) == set()


def test_branch_without_the_message_of_the_title_has_another_title(
    versions: Versions, transaction: Transaction, erase_it: Any
) -> None:
    versions.chat.say(versions.id, "system", "system")
    versions.ask(question := f"\n{SECRET} q")
    versions.rewind("system")
    versions.ask("plain\nwords")
    other = Versions(versions.chat, transaction)
    titles = {}
    for last in ("system", "plain\nwords"):
        with transaction() as connection:
            other.id = branch(connection, None, versions.id, versions.rows()[last].id)
        titles[last] = title(other)
    assert titles == {"system": None, "plain\nwords": "plain"}
    erase_it(question)
    assert title(versions) == "plain"
    assert found_in(versions.chat.connection, SECRET) == set()
    for own in ("mine", "plain"):
        conversations.change(versions.chat.connection, None, versions.id, {"title": own})
        with transaction() as connection:
            other.id = branch(connection, None, versions.id, versions.rows()["plain\nwords"].id)
        assert title(other) == own


def test_erasing_is_refused_only_while_the_answer_is_generated(versions: Versions, erase_it: Any) -> None:
    versions.ask("q1")
    versions.answer("q1", "a1")
    versions.ask("q2")
    run = versions.chat.run(versions.id, "active", trigger_message_id=versions.rows()["q2"].id)
    with pytest.raises(ConflictError):
        erase_it("q2")
    erase_it("q1")
    assert versions.read() == ["q2"]
    versions.chat.connection.execute(
        update(run_table).where(run_table.c.id == run).values(lease_until=text("now() - interval '1 s'"))
    )
    erase_it("q2")
    assert rows_of(versions.chat.connection, versions.id)["chat_runs"] == 0


def test_message_that_is_not_in_the_conversation_is_not_found(versions: Versions, transaction: Transaction) -> None:
    chat = versions.chat
    versions.ask("q")
    message = versions.rows()["q"].id
    for companies, conversation, named in (
        (None, versions.id, uuid4()),
        (None, chat.conversation(), message),
        (None, uuid4(), message),
        ([uuid4()], versions.id, message),
    ):
        with pytest.raises(NotFoundError), transaction() as connection:
            erase.erase_message(connection, companies, conversation, named)
    assert versions.read() == ["q"]
    conversations.soft_delete(chat.connection, None, versions.id)
    with pytest.raises(NotFoundError), transaction() as connection:
        erase.erase_message(connection, None, versions.id, message)


def test_message_that_is_being_erased_cannot_be_bookmarked(
    versions: Versions, transaction: Transaction, engine: Engine
) -> None:
    versions.ask("q")
    message = versions.rows()["q"].id

    def add() -> bool:
        with engine.connect() as connection:
            return bookmarks.add(connection, None, versions.id, message)

    with ThreadPoolExecutor(1) as threads:
        with transaction() as connection:
            erase.erase_message(connection, None, versions.id, message)
            added = threads.submit(add)
            blocked = text("SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))")
            while not connection.execute(blocked).scalar_one():
                connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        assert added.result() is False


# --- conversations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("deleted_before", [False, True])
def test_nothing_of_an_erased_conversation_is_left(
    versions: Versions,
    transaction: Transaction,
    erase_conversation: Any,
    monkeypatch: pytest.MonkeyPatch,
    deleted_before: bool,
) -> None:
    monkeypatch.setattr(erase, "ROWS_A_STATEMENT", 2)
    secret_question(versions, transaction)
    other = Versions(versions.chat, transaction)
    other.ask("stays")
    assert 0 not in rows_of(versions.chat.connection, versions.id).values()
    if deleted_before:
        conversations.soft_delete(versions.chat.connection, None, versions.id)
    erase_conversation(versions.id)
    assert set(rows_of(versions.chat.connection, versions.id).values()) == {0}
    assert found_in(versions.chat.connection, SECRET) == set()
    assert other.read() == ["stays"]
    with pytest.raises(NotFoundError):
        erase_conversation(versions.id)


def test_conversation_of_another_company_is_not_erased(versions: Versions, transaction: Transaction) -> None:
    versions.ask("q")
    with pytest.raises(NotFoundError), transaction() as connection:
        erase.hide_conversation(connection, [uuid4()], versions.id)
    with transaction() as connection:
        erase.erase_conversation(connection, [uuid4()], versions.id)
    assert versions.read() == ["q"]
