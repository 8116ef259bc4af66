"""Erasing a company, or all that a person wrote: nothing is left of it, everything else is, and it can be resumed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, Engine, text

from chatserver import credentials
from chatserver.errors import UnavailableError
from chatserver.metrics import Metrics
from chatserver.services import erasing
from chatserver.services.erasing import Erased, Erasing
from chatserver.storage import agents, bookmarks, conversations, erase_many, sign_in, tokens
from chatserver.storage.branch import branch
from chatserver.storage.postgres.connections import make_engine
from chatserver.storage.postgres.database import Database
from chatserver.storage.postgres.vacuum import vacuum
from tests.kit.everywhere import found_everywhere
from tests.storage.conftest import Chat
from tests.storage.test_restore import Versions

pytestmark = pytest.mark.usefixtures("no_requests_under_way")

Transaction = Callable[[], AbstractContextManager[Connection]]
SECRET = "xyzzy"


@pytest.fixture
def engine(database_url: str) -> Any:
    """In place of the module's: each test looks through a whole database."""
    engine = make_engine(database_url, connections=4, statement_timeout_seconds=10)
    yield engine
    engine.dispose()


@asynccontextmanager
async def erasing_at(url: str) -> AsyncIterator[Erasing]:
    database = Database(url, connections=2, statement_timeout_seconds=10, metrics=Metrics("0"))
    try:
        yield Erasing(database)
    finally:
        await asyncio.to_thread(database.close)


def told(url: str, *names: str) -> list[Any]:
    with psycopg.connect(url, row_factory=namedtuple_row) as connection:
        rows = connection.execute("SELECT * FROM chat_audit ORDER BY at, id").fetchall()
    return [row for row in rows if row.event in names]


def fill(chat: Chat, transaction: Transaction, word: str, author: str = "ann") -> dict[str, UUID]:
    """A company with everything that there can be, all of it with the word."""
    versions = Versions(chat, transaction)
    question = chat.say(versions.id, f"{word} q1", author=author)
    versions.answer(f"{word} q1", f"{word} a1")
    versions.edit(f"{word} q1", f"{word} edited")
    versions.rewind(f"{word} q1")
    versions.answer(f"{word} q1", f"{word} a2")
    chat.run(versions.id, "failed", trigger_message_id=question.id, error_message=word)
    assert bookmarks.add(chat.connection, None, versions.id, question.id)
    with transaction() as connection:
        copy = branch(connection, None, versions.id, versions.rows()[f"{word} a2"].id)
        agents.create(connection, company_id=chat.company, name=word, adapter_type="echo", adapter_config={})
        digest = credentials.digest(credentials.new_token())
        token = tokens.create(
            connection, digest=digest, company_id=chat.company, name=author, role="member", expires_days=0
        )
        sign_in.open_session(connection, token.id, credentials.digest(credentials.new_cookie()), None)
        connection.execute(
            text("INSERT INTO chat_open_streams VALUES (:company, :company, 1, now())"), {"company": chat.company}
        )
    deleted = chat.conversation(f"{word} deleted")
    chat.say(deleted, f"{word} in a deleted one", author=author)
    assert conversations.soft_delete(chat.connection, None, deleted)
    for title in ("empty", "pinned"):
        conversations.pin(chat.connection, None, chat.conversation(f"{word} {title}"))
    return {"conversation": versions.id, "copy": copy, "deleted": deleted}


async def test_nothing_of_an_erased_company_is_left_and_all_of_another(
    chat: Chat, transaction: Transaction, connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase_many, "ROWS_A_LOOK", 2)
    monkeypatch.setattr(erase_many, "CONVERSATIONS_A_STEP", 2)
    other = Chat(connection, uuid4())
    fill(chat, transaction, SECRET)
    fill(other, transaction, "plugh")
    vacuum(database_url)  # the planner has samples now
    before = found_everywhere(database_url, "plugh", samples=True)
    assert found_everywhere(database_url, SECRET, samples=True) == before
    assert {"chat_messages.content", "chat_search.vector", "chat_message_revisions.content", "pg_stats"} <= before
    assert {"chat_conversations.folded_title", "agents.name", "chat_runs.error_message"} <= before
    async with erasing_at(database_url) as erase:
        assert await erase.erase_company(chat.company) == Erased(conversations=5, agents=1, tokens=1)
        vacuum(database_url)
        assert found_everywhere(database_url, SECRET, samples=True) == set()
        # Of the company itself, only the log tells.
        assert {name.partition(".")[0] for name in found_everywhere(database_url, str(chat.company))} == {"chat_audit"}
        assert found_everywhere(database_url, "plugh", samples=True) == before
        entries = told(database_url, "company_erased")
        assert [entry.details["completed"] for entry in entries] == [False] * (len(entries) - 1) + [True]
        assert sum(len(entry.details["conversationIds"]) for entry in entries) == 5
        assert {entry.company_id for entry in entries} == {chat.company}
        assert await erase.erase_company(chat.company) == Erased()


async def test_erasing_of_a_company_that_was_cut_off_goes_on_where_it_was(
    chat: Chat, transaction: Transaction, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase_many, "CONVERSATIONS_A_STEP", 1)
    fill(chat, transaction, SECRET)
    steps = 0
    whole = erase_many.erase_of_company

    def cut_off(connection: Connection, company: UUID, ids: Any) -> int:
        nonlocal steps
        steps += 1
        if steps == 3:
            whole(connection, company, ids)
            raise ZeroDivisionError  # in the middle of a step: nothing of it takes effect
        return whole(connection, company, ids)

    async with erasing_at(database_url) as erase:
        monkeypatch.setattr(erase_many, "erase_of_company", cut_off)
        with pytest.raises(ZeroDivisionError):
            await erase.erase_company(chat.company)
        assert sum(len(entry.details["conversationIds"]) for entry in told(database_url, "company_erased")) == 2
        assert await erase.erase_company(chat.company) == Erased(conversations=3)
    assert found_everywhere(database_url, SECRET) == set()
    entries = told(database_url, "company_erased")
    assert len({each for entry in entries for each in entry.details["conversationIds"]}) == 5


async def test_nothing_of_what_a_person_wrote_is_left_and_all_that_others_wrote(
    chat: Chat, transaction: Transaction, connection: Connection, database_url: str
) -> None:
    ids = fill(chat, transaction, SECRET)
    others = chat.say(ids["conversation"], "of others", author="bob")
    chat.answer(ids["conversation"], others, "to others")
    elsewhere = Chat(connection, uuid4())
    fill(elsewhere, transaction, "plugh")
    before = found_everywhere(database_url, "plugh")
    async with erasing_at(database_url) as erase:
        assert await erase.erase_author("ann", chat.company) == Erased(messages=3)
        vacuum(database_url)
        # What an operator or others named stays: an agent, and the titles that a person gave.
        assert found_everywhere(database_url, SECRET) <= {
            "agents.name",
            "chat_conversations.title",
            "chat_conversations.folded_title",
            "chat_search.vector",
        }
        for identity in (ids["conversation"], ids["copy"]):
            row = conversations.find(connection, None, identity)
            assert row is not None
            assert SECRET not in (row.title or "")
        assert found_everywhere(database_url, "plugh") == before
        left = text("SELECT content FROM chat_messages WHERE conversation_id = :id ORDER BY position")
        assert connection.execute(left, {"id": ids["conversation"]}).scalars().all() == ["of others", "to others"]
        assert [entry.details for entry in told(database_url, "author_erased")] == [{"author": "ann", "messages": 3}]
        assert {entry.company_id for entry in told(database_url, "message_erased")} == {chat.company}
        assert await erase.erase_author("ann", None) == Erased(messages=3)
        assert await erase.erase_author("ann", None) == Erased()


async def test_answer_that_is_generated_is_asked_to_stop_and_waited_for(
    chat: Chat, database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, SECRET, author="ann")
    run = chat.run(conversation, "active", trigger_message_id=question.id, lease_seconds=1_000)
    requested = text("SELECT stop_requested FROM chat_runs WHERE id = :run")
    async with erasing_at(database_url) as erase:
        monkeypatch.setattr(erasing, "STOP_SECONDS", 0.2)
        with pytest.raises(UnavailableError, match="run the command again"):
            await erase.erase_author("ann", None)
        assert chat.connection.execute(requested, {"run": run}).scalar_one() == "discard"
        with pytest.raises(UnavailableError):
            await erase.erase_company(chat.company)
        monkeypatch.setattr(erasing, "STOP_SECONDS", 20)
        waiting = asyncio.create_task(erase.erase_author("ann", None))
        await asyncio.sleep(0)
        with engine.connect() as owner:  # its owner sees it, or its lease ends
            owner.execute(text("UPDATE chat_runs SET lease_until = now() WHERE id = :run"), {"run": run})
        assert await waiting == Erased(messages=1)
    assert found_everywhere(database_url, SECRET) == set()
