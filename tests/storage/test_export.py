"""Batches of an export: each message once, in order, and no batch too large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Row, func, update

from chatserver.storage import agents, export, messages, revisions
from chatserver.storage.tables import messages as table
from tests.storage.conftest import Chat


def batches(
    chat: Chat, conversation: UUID, superseded: messages.Superseded = "include", last: int = 1_000
) -> Iterator[Sequence[Row[Any]]]:
    after = 0
    while rows := export.next_batch(
        chat.connection,
        company_id=chat.company,
        conversation_id=conversation,
        after=after,
        last=last,
        superseded=superseded,
    ):
        yield rows
        after = rows[-1].position


def contents(chat: Chat, conversation: UUID, **criteria: Any) -> list[list[str]]:
    return [[row.content for row in batch] for batch in batches(chat, conversation, **criteria)]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(export, "BATCH_ROWS", 3)
    monkeypatch.setattr(export, "BATCH_BYTES", 10)
    export._batch.cache_clear()
    yield
    export._batch.cache_clear()


@pytest.mark.usefixtures("small_batches")
def test_batches_are_bounded_in_rows_and_in_bytes(chat: Chat) -> None:
    conversation = chat.conversation()
    for content in ("a", "b", "c", "d", "x" * 100, "e", "é" * 4, "f", "12345", "12345", "g"):
        chat.say(conversation, content)
    chat.say(chat.conversation(), "other")
    assert contents(chat, conversation) == [
        ["a", "b", "c"],
        ["d", "x" * 100],
        ["e", "é" * 4, "f"],
        ["12345", "12345"],
        ["g"],
    ]


@pytest.mark.usefixtures("small_batches")
def test_edits_count_as_bytes(chat: Chat) -> None:
    conversation = chat.conversation()
    first = chat.say(conversation, "a")
    chat.say(conversation, "b")
    revisions.edit(chat.connection, None, conversation, first.id, "x" * 10)
    assert contents(chat, conversation) == [["a"], ["b"]]


def test_later_messages_are_left_out(chat: Chat) -> None:
    conversation = chat.conversation()
    for content in "abc":
        chat.say(conversation, content)
    assert contents(chat, conversation, last=2) == [["a", "b"]]


def test_superseded_messages_are_exported_only_if_asked(chat: Chat) -> None:
    conversation = chat.conversation()
    chat.say(conversation, "a")
    second = chat.say(conversation, "b")
    chat.connection.execute(update(table).where(table.c.id == second.id).values(superseded_at=func.now()))
    assert contents(chat, conversation, superseded="include") == [["a", "b"]]
    assert contents(chat, conversation, superseded="exclude") == [["a"]]


def test_agents_of_other_companies_have_no_name(chat: Chat) -> None:
    conversation = chat.conversation()

    def agent(name: str, company: UUID) -> UUID:
        row = agents.create(chat.connection, company_id=company, name=name, adapter_type="echo", adapter_config={})
        return UUID(str(row.id))

    here, gone, elsewhere = agent("Here", chat.company), agent("Gone", chat.company), agent("Elsewhere", uuid4())
    agents.soft_delete(chat.connection, None, gone)
    for agent_id in (here, gone, elsewhere, uuid4(), None):
        chat.say(conversation, "said", "assistant", agent_id=agent_id)
    (rows,) = batches(chat, conversation)
    assert [row.agent_name for row in rows] == ["Here", "Gone", None, None, None]
