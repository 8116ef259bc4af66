"""Conversations: their list, their changes, and who sees them."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text, update

from chatserver.errors import ValidationError
from chatserver.storage import conversations
from chatserver.storage.tables import conversations as table
from tests.storage.conftest import Chat


def titles(chat: Chat, **criteria: Any) -> list[str | None]:
    page = conversations.list_page(chat.connection, company_id=chat.company, limit=100, **criteria)
    return [row.title for row in page.rows]


def set_columns(chat: Chat, conversation_id: UUID, **columns: Any) -> None:
    chat.connection.execute(update(table).where(table.c.id == conversation_id).values(**columns))


def test_new_conversation_has_equal_times(chat: Chat) -> None:
    row = conversations.create(chat.connection, company_id=chat.company, title="t", agent_id=None)
    assert row.created_at == row.updated_at
    assert row.created_at.utcoffset() == timedelta(0)
    assert row.run_id is None
    assert conversations.find(chat.connection, None, row.id) == row


def test_list_has_pinned_first_then_the_newest(chat: Chat) -> None:
    first, second, third, fourth = (chat.conversation(title) for title in "1234")
    conversations.pin(chat.connection, None, second)
    conversations.pin(chat.connection, None, first)
    assert titles(chat) == ["2", "1", "4", "3"]
    chat.say(third, "hello")
    assert titles(chat) == ["2", "1", "3", "4"]
    conversations.change(chat.connection, None, first, {})
    assert titles(chat) == ["1", "2", "3", "4"]
    conversations.unpin(chat.connection, None, first)
    conversations.archive(chat.connection, None, fourth)
    assert titles(chat) == ["2", "1", "3"]


def test_second_pin_or_archive_keeps_the_first_time_and_updated_at(chat: Chat) -> None:
    conversation = chat.conversation()
    before = conversations.find(chat.connection, None, conversation)
    assert before is not None
    for do, undo, column in (
        (conversations.pin, conversations.unpin, "pinned_at"),
        (conversations.archive, conversations.unarchive, "archived_at"),
    ):
        once, twice = do(chat.connection, None, conversation), do(chat.connection, None, conversation)
        assert once is not None
        assert once == twice
        assert getattr(once, column) is not None
        assert once.updated_at == before.updated_at
        undo(chat.connection, None, conversation)
        undone = undo(chat.connection, None, conversation)
        assert undone == before


def test_updated_at_increases_even_if_the_clock_stands_still(chat: Chat) -> None:
    conversation = chat.conversation()
    chat.connection.execute(
        text("UPDATE chat_conversations SET updated_at = clock_timestamp() + interval '1 hour' WHERE id = :id"),
        {"id": conversation},
    )
    moved = conversations.change(chat.connection, None, conversation, {"title": "a"})
    again = conversations.change(chat.connection, None, conversation, {})
    assert moved is not None
    assert again is not None
    assert again.updated_at - moved.updated_at == timedelta(milliseconds=1)
    said = chat.say(conversation, "hello")
    assert said.created_at - again.updated_at == timedelta(milliseconds=1)


@pytest.mark.parametrize("archived", ["false", "true", "all"])
def test_list_shows_archived_conversations_only_if_asked(chat: Chat, archived: Any) -> None:
    chat.conversation("here")
    conversations.archive(chat.connection, None, chat.conversation("archived"))
    conversations.soft_delete(chat.connection, None, chat.conversation("deleted"))
    expected = {"false": ["here"], "true": ["archived"], "all": ["archived", "here"]}
    assert titles(chat, archived=archived) == expected[archived]


def test_list_by_agent_has_only_its_conversations(chat: Chat) -> None:
    agent = uuid4()
    chat.conversation("other", uuid4())
    chat.conversation("none")
    chat.conversation("this", agent)
    assert titles(chat, agent_id=agent) == ["this"]


@pytest.mark.parametrize(
    ("searched", "found"),
    [
        ("half", {"100% Half"}),
        ("HALF", {"100% Half"}),
        ("0% h", {"100% Half"}),
        ("_", {"a_b"}),
        ("\\", {"back\\slash"}),
        ("%", {"100% Half"}),
        ("ÄPFEL", {"grüne äpfel"}),
        ("no such", set()),
    ],
)
def test_list_by_title_matches_every_character_literally(chat: Chat, searched: str, found: set[str]) -> None:
    for title in ("100% Half", "1000 h", "a_b", "axb", "back\\slash", "grüne äpfel", None):
        chat.conversation(title)
    assert set(titles(chat, title_contains=searched)) == found


@pytest.mark.parametrize(
    ("title", "searched"),
    [
        ("cafe\u0301 au lait", "CAFÉ"),
        ("café au lait", "cafe\u0301 AU"),
        ("Do\u00adnaudampf", "naudamp"),
        ("Donaudampf", "nau\u200bdamp"),
        ("ΟΔΥΣΣΕΥΣ", "δυσσευς"),
        ("οδυσσευς", "ΕΥΣ"),
        ("الســـلام", "السلام"),
        ("ＡＰＩ", "api"),
        ("an api", "ＡＰＩ"),
        ("ﾃｽﾄ", "テスト"),
        ("the oﬃce", "office"),
        ("Große Straße", "STRASSE"),
        ("100％", "100%"),
    ],
)
def test_list_by_title_matches_what_readers_take_for_the_same(chat: Chat, title: str, searched: str) -> None:
    conversation = chat.conversation(title)
    chat.conversation("another")
    assert titles(chat, title_contains=searched) == [title]
    conversations.change(chat.connection, None, conversation, {"title": "renamed"})
    assert titles(chat, title_contains=searched) == []


def test_pages_hold_each_conversation_once_even_if_times_are_equal(chat: Chat) -> None:
    now = chat.connection.execute(text("SELECT now()")).scalar_one()
    made = [chat.conversation(str(number)) for number in range(23)]
    for conversation in made:
        pinned = now if random.random() < 0.3 else None
        moment = now + timedelta(microseconds=random.randrange(4))
        set_columns(chat, conversation, updated_at=moment, pinned_at=pinned)
    whole = titles(chat)
    assert sorted(whole, key=lambda title: int(title or "")) == [str(number) for number in range(23)]
    for limit in (1, 5, 23):
        seen: list[str | None] = []
        cursor = None
        while True:
            page = conversations.list_page(chat.connection, company_id=chat.company, limit=limit, cursor=cursor)
            seen += [row.title for row in page.rows]
            assert len(page.rows) <= limit
            if (cursor := page.next_cursor) is None:
                break
            assert len(page.rows) == limit
        assert seen == whole


def test_cursor_of_another_list_is_refused(chat: Chat) -> None:
    chat.conversation()
    chat.conversation()
    page = conversations.list_page(chat.connection, company_id=chat.company, limit=1)
    for others in ({"archived": "all"}, {"agent_id": uuid4()}, {"title_contains": "a"}, {"company_id": uuid4()}):
        criteria: dict[str, Any] = {"company_id": chat.company, "limit": 1, "cursor": page.next_cursor, **others}
        with pytest.raises(ValidationError) as caught:
            conversations.list_page(chat.connection, **criteria)
        assert caught.value.problems[0].path == "cursor"


def test_change_sets_only_the_given_columns(chat: Chat) -> None:
    agent = uuid4()
    conversation = chat.conversation("old", agent)
    changed = conversations.change(chat.connection, None, conversation, {"title": "new"})
    assert changed is not None
    assert (changed.title, changed.agent_id) == ("new", agent)
    changed = conversations.change(chat.connection, None, conversation, {"agent_id": None})
    assert changed is not None
    assert (changed.title, changed.agent_id) == ("new", None)
    changed = conversations.change(chat.connection, None, conversation, {"title": None, "agent_id": agent})
    assert changed is not None
    assert (changed.title, changed.agent_id) == (None, agent)


def test_deleted_conversation_is_found_by_restore_only(chat: Chat) -> None:
    conversation = chat.conversation("t")
    before = conversations.find(chat.connection, None, conversation)
    assert conversations.soft_delete(chat.connection, None, conversation)
    assert not conversations.soft_delete(chat.connection, None, conversation)
    for function in (
        conversations.find,
        conversations.archive,
        conversations.unarchive,
        conversations.pin,
        conversations.unpin,
    ):
        assert function(chat.connection, None, conversation) is None
    assert conversations.change(chat.connection, None, conversation, {}) is None
    assert titles(chat, archived="all") == []
    assert conversations.restore(chat.connection, None, conversation) == before
    assert conversations.restore(chat.connection, None, conversation) == before
    assert conversations.restore(chat.connection, None, uuid4()) is None


def test_conversation_of_another_company_is_not_found(chat: Chat) -> None:
    conversation = chat.conversation()
    for companies in ([], [uuid4()]):
        assert conversations.change(chat.connection, companies, conversation, {"title": "mine"}) is None
        assert not conversations.soft_delete(chat.connection, companies, conversation)
        for function in (
            conversations.find,
            conversations.restore,
            conversations.archive,
            conversations.unarchive,
            conversations.pin,
            conversations.unpin,
        ):
            assert function(chat.connection, companies, conversation) is None
    assert conversations.find(chat.connection, [uuid4(), chat.company], conversation) is not None


def test_active_run_is_shown_until_its_lease_expires(chat: Chat) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "?")
    for status in ("completed", "failed", "dropped", "stopped", "superseded", "kept"):
        chat.run(conversation, status, trigger_message_id=uuid4())
    row = conversations.find(chat.connection, None, conversation)
    assert row is not None
    assert row.run_id is None
    run = chat.run(conversation, "active", trigger_message_id=question.id)
    for row in (
        conversations.find(chat.connection, None, conversation),
        conversations.pin(chat.connection, None, conversation),
        conversations.list_page(chat.connection, company_id=chat.company, limit=1).rows[0],
    ):
        assert row is not None
        assert (row.run_id, row.run_trigger_id) == (run, question.id)
        assert isinstance(row.run_started_at, datetime)
    chat.connection.execute(text("UPDATE chat_runs SET lease_until = now() WHERE id = :run"), {"run": run})
    row = conversations.find(chat.connection, None, conversation)
    assert row is not None
    assert row.run_id is None


def test_list_is_read_from_its_index(transaction: Callable[[], AbstractContextManager[Connection]]) -> None:
    """Also on later pages: the keys are compared in the index, not row by row."""
    page = conversations._page("false", by_agent=False, by_title=False, resumed=True)
    values = {
        "company": uuid4(),
        "rows": 31,
        "after_pinned": False,
        "after_updated_at": datetime.now(UTC),
        "after_id": uuid4(),
    }
    with transaction() as connection:
        for other_way in ("seqscan", "bitmapscan", "sort"):
            connection.execute(text(f"SET LOCAL enable_{other_way} = off"))
        query = str(page.compile(connection.engine, compile_kwargs={"render_postcompile": True}))
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {query}", values).scalars())
    assert "Index Scan Backward using ix_chat_conversations_list" in plan
    condition = next(line for line in plan.splitlines() if "Index Cond" in line and "company_id" in line)
    assert "(ROW((pinned_at IS NOT NULL), updated_at, id) < ROW(" in condition
