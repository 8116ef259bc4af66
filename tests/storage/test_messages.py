"""Messages: their order, their edits, and the titles that they give."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from chatserver.errors import ValidationError
from chatserver.storage import conversations, messages, revisions
from chatserver.storage.keyset import Slice
from tests.storage.conftest import Chat


def page_of(chat: Chat, conversation_id: Any, **criteria: Any) -> Slice:
    found = messages.list_page(chat.connection, None, conversation_id, **criteria)
    assert found is not None
    page, company = found
    assert company == chat.company
    return page


def contents(chat: Chat, conversation_id: Any, **criteria: Any) -> list[str]:
    page = page_of(chat, conversation_id, limit=100, **criteria)
    return [row.content for row in page.rows]


def title(chat: Chat, conversation_id: Any) -> str | None:
    row = conversations.find(chat.connection, None, conversation_id)
    assert row is not None
    return None if row.title is None else str(row.title)


def test_message_gets_position_and_time_from_its_conversation(chat: Chat) -> None:
    conversation, agent = chat.conversation(), uuid4()
    first = chat.say(conversation, "one", agent_id=agent)
    second = chat.say(conversation, "two", "assistant", reply_to=first.id, input_tokens=1, output_tokens=2)
    assert (first.position, second.position) == (1, 2)
    assert first.created_at < second.created_at
    assert (first.agent_id, first.reply_to, first.status) == (agent, None, "completed")
    assert (second.reply_to, second.input_tokens, second.output_tokens) == (first.id, 1, 2)
    row = conversations.find(chat.connection, None, conversation)
    assert row is not None
    assert row.updated_at == second.created_at
    assert (row.agent_id, row.last_position) == (None, 2)


def test_message_keeps_a_given_id(chat: Chat) -> None:
    given = uuid4()
    assert chat.say(chat.conversation(), "x", message_id=given).id == given


def test_first_user_message_gives_the_title(chat: Chat) -> None:
    conversation = chat.conversation()
    chat.say(conversation, "be brief", "system")
    chat.say(conversation, "welcome", "assistant")
    assert title(chat, conversation) is None
    chat.say(conversation, "\n  what is this? \nno, really")
    assert title(chat, conversation) == "what is this?"
    chat.say(conversation, "another")
    assert title(chat, conversation) == "what is this?"


def test_message_that_shows_nothing_gives_no_title_and_the_next_visible_line_does(chat: Chat) -> None:
    conversation = chat.conversation()
    chat.say(conversation, "\u200b\n\u200b\u00ad \n" + "x" * 57 + "👨\u200d👩\u200d👧\u200d👦 and more")
    assert title(chat, conversation) == "x" * 57


def test_given_title_is_not_replaced(chat: Chat) -> None:
    conversation = chat.conversation("mine")
    chat.say(conversation, "hello")
    assert title(chat, conversation) == "mine"
    conversations.change(chat.connection, None, conversation, {"title": None})
    chat.say(conversation, "not the first")
    assert title(chat, conversation) is None


@pytest.mark.parametrize("gone", ["unknown", "deleted", "another company's"])
def test_message_in_an_unknown_conversation_is_refused(chat: Chat, gone: str) -> None:
    conversation = chat.conversation()
    said = chat.say(conversation, "here")
    companies = [uuid4()] if gone == "another company's" else None
    if gone == "deleted":
        conversations.soft_delete(chat.connection, None, conversation)
    named = uuid4() if gone == "unknown" else conversation
    added = messages.insert_message(
        chat.connection, companies=companies, conversation_id=named, role="user", content="x"
    )
    assert added is None
    assert revisions.edit(chat.connection, companies, named, said.id, "x") is None
    assert messages.list_page(chat.connection, companies, named, limit=1) is None
    rows = chat.connection.execute(
        text("SELECT content, edited_content FROM chat_messages WHERE conversation_id = :id"), {"id": conversation}
    ).all()
    assert rows == [("here", None)]


def test_edit_keeps_the_original_and_moves_the_conversation(chat: Chat) -> None:
    conversation = chat.conversation()
    said, other = chat.say(conversation, "teh", agent_id=uuid4()), chat.say(conversation, "other")
    edited = revisions.edit(chat.connection, None, conversation, said.id, "the")
    assert edited is not None
    assert (edited.content, edited.edited_content, edited.agent_id) == ("teh", "the", said.agent_id)
    assert edited.edited_at > said.created_at
    row = conversations.find(chat.connection, None, conversation)
    assert row is not None
    assert row.updated_at == edited.edited_at
    again = revisions.edit(chat.connection, None, conversation, said.id, "The")
    assert again is not None
    assert (again.content, again.edited_content) == ("teh", "The")
    assert again.edited_at > edited.edited_at
    assert [each.content for each in messages.history(chat.connection, conversation)] == ["The", other.content]


def test_message_of_another_conversation_cannot_be_edited(chat: Chat) -> None:
    here, there = chat.conversation(), chat.conversation()
    said = chat.say(here, "x")
    before = conversations.find(chat.connection, None, there)
    assert revisions.edit(chat.connection, None, there, said.id, "y") is None
    assert revisions.edit(chat.connection, None, here, uuid4(), "y") is None
    assert conversations.find(chat.connection, None, there) == before


def test_history_has_live_messages_in_order(chat: Chat) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, "q", agent_id=uuid4())
    answer = chat.answer(conversation, question, "a")
    taken_back = chat.say(conversation, "taken back")
    chat.connection.execute(
        text("UPDATE chat_messages SET superseded_at = now() WHERE id = :id"), {"id": taken_back.id}
    )
    rows = messages.history(chat.connection, conversation)
    assert [tuple(row) for row in rows] == [
        (question.id, "user", "q", question.agent_id, None, 1),
        (answer.id, "assistant", "a", None, question.id, 2),
    ]
    assert rows[0]._fields == ("id", "role", "content", "agent_id", "reply_to", "position")
    assert contents(chat, conversation) == ["q", "a"]
    assert contents(chat, conversation, superseded="include") == ["q", "a", "taken back"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 7])
def test_pages_list_each_message_once(chat: Chat, order: Any, limit: int) -> None:
    conversation = chat.conversation()
    for number in range(7):
        chat.say(conversation, str(number))
    seen: list[str] = []
    cursor = None
    while True:
        page = page_of(chat, conversation, limit=limit, cursor=cursor, order=order)
        seen += [row.content for row in page.rows]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == sorted("0123456", reverse=order == "desc")


def test_conversation_without_messages_has_an_empty_page(chat: Chat) -> None:
    page = page_of(chat, chat.conversation(), limit=1)
    assert (page.rows, page.next_cursor) == ([], None)


def test_cursor_of_another_list_is_refused(chat: Chat) -> None:
    conversation, other = chat.conversation(), chat.conversation()
    for each in (conversation, conversation, other, other):
        chat.say(each, "x")
    page = page_of(chat, conversation, limit=1)
    for named, others in (
        (other, {}),
        (conversation, {"order": "desc"}),
        (conversation, {"superseded": "include"}),
    ):
        criteria: dict[str, Any] = {"limit": 1, "cursor": page.next_cursor, **others}
        with pytest.raises(ValidationError):
            messages.list_page(chat.connection, None, named, **criteria)


def test_concurrent_messages_are_numbered_without_a_gap(chat: Chat, engine: Engine) -> None:
    conversation = chat.conversation()

    def say(number: int) -> None:
        with engine.connect() as connection:
            Chat(connection, chat.company).say(conversation, f"message {number}")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(say, range(30)))
    page = page_of(chat, conversation, limit=100)
    assert [row.position for row in page.rows] == list(range(1, 31))
    moments = [row.created_at for row in page.rows]
    assert moments == sorted(set(moments))
    assert title(chat, conversation) == page.rows[0].content
