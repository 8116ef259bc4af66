"""Bookmarks: the messages that may have one, and the list of bookmarks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, select

from chatserver.errors import ValidationError
from chatserver.storage import bookmarks, conversations, message_rows
from chatserver.storage.branch import branch
from chatserver.storage.rewind import rewind
from chatserver.storage.tables import bookmarks as table
from tests.storage.conftest import Chat

Transaction = Callable[[], AbstractContextManager[Connection]]


def listed(chat: Chat, company: UUID | None = None) -> list[str]:
    page = bookmarks.list_page(chat.connection, company_id=company or chat.company, limit=100)
    return [message_rows.message_of(row).content for row in page.rows]


def test_second_bookmark_keeps_the_time_of_the_first(chat: Chat) -> None:
    conversation = chat.conversation()
    message = chat.say(conversation, "one")
    for _ in range(2):
        assert bookmarks.add(chat.connection, [chat.company], conversation, message.id)
        rows = chat.connection.execute(select(table).where(table.c.message_id == message.id)).all()
        assert len(rows) == 1
    (row,) = bookmarks.list_page(chat.connection, company_id=chat.company, limit=1).rows
    assert row.bookmarked_at == rows[0].created_at
    assert message_rows.message_of(row).id == message.id
    assert message_rows.conversation_of(row).id == conversation


def test_bookmark_can_be_removed_twice(chat: Chat) -> None:
    conversation = chat.conversation()
    message = chat.say(conversation, "one")
    bookmarks.add(chat.connection, None, conversation, message.id)
    for _ in range(2):
        assert bookmarks.remove(chat.connection, [chat.company], conversation, message.id)
        assert listed(chat) == []


@pytest.mark.parametrize("change", [bookmarks.add, bookmarks.remove])
def test_unknown_message_cannot_be_bookmarked(
    chat: Chat, change: Callable[[Connection, list[UUID] | None, UUID, UUID], bool]
) -> None:
    conversation, other = chat.conversation(), chat.conversation()
    message = chat.say(conversation, "one")
    assert not change(chat.connection, None, conversation, uuid4())
    assert not change(chat.connection, None, other, message.id)
    assert not change(chat.connection, [uuid4()], conversation, message.id)
    conversations.soft_delete(chat.connection, None, conversation)
    assert not change(chat.connection, None, conversation, message.id)


def test_pages_list_each_bookmark_once_newest_first(chat: Chat) -> None:
    conversation = chat.conversation()
    said = [chat.say(conversation, str(number)) for number in range(7)]
    for message in reversed(said):
        bookmarks.add(chat.connection, None, conversation, message.id)
    assert listed(chat) == list("0123456")
    seen, cursor = [], None
    while True:
        page = bookmarks.list_page(chat.connection, company_id=chat.company, limit=2, cursor=cursor)
        seen += (message_rows.message_of(row).content for row in page.rows)
        cursor = page.next_cursor
        if cursor is None:
            break
        newer = chat.say(conversation, "newer")
        bookmarks.add(chat.connection, None, conversation, newer.id)
    assert seen == list("0123456")
    with pytest.raises(ValidationError):
        bookmarks.list_page(chat.connection, company_id=uuid4(), limit=2, cursor="e30")


def test_bookmarks_of_superseded_or_deleted_are_left_out(chat: Chat, transaction: Transaction) -> None:
    kept, gone = chat.conversation(), chat.conversation()
    first, second = chat.say(kept, "first"), chat.say(kept, "second")
    third = chat.say(gone, "third")
    for conversation, message in ((kept, first), (kept, second), (gone, third)):
        bookmarks.add(chat.connection, None, conversation, message.id)
    with transaction() as connection:
        rewind(connection, None, kept, first.id)
    assert listed(chat) == ["third", "first"]
    assert not bookmarks.add(chat.connection, None, kept, second.id)
    assert bookmarks.remove(chat.connection, None, kept, second.id)
    conversations.soft_delete(chat.connection, None, gone)
    assert listed(chat) == ["first"]
    conversations.restore(chat.connection, None, gone)
    assert listed(chat) == ["third", "first"]
    assert listed(chat, company=uuid4()) == []


def test_branch_has_no_bookmarks(chat: Chat, transaction: Transaction) -> None:
    conversation = chat.conversation()
    message = chat.say(conversation, "one")
    bookmarks.add(chat.connection, None, conversation, message.id)
    with transaction() as connection:
        branch(connection, None, conversation, message.id)
    assert listed(chat) == ["one"]
