"""The two formats of an exported conversation."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chatserver.schemas import Conversation, ConversationExport
from chatserver.services.export_formats import JsonWriter, MarkdownWriter, Writer

NOON = datetime(2026, 3, 4, 12, 0, 0, 123_456, tzinfo=UTC)
ID = UUID(int=1)


def conversation(title: str | None = "Plans") -> Conversation:
    return Conversation(
        id=ID,
        company_id=ID,
        title=title,
        agent_id=None,
        pinned_at=None,
        archived_at=None,
        deleted_at=None,
        created_at=NOON,
        updated_at=NOON,
        parent_conversation_id=None,
        branch_from_message_id=None,
        active_run=None,
    )


def row(content: str, role: str = "user", **columns: Any) -> Any:
    given = {
        "id": ID,
        "conversation_id": ID,
        "agent_id": None,
        "created_at": NOON,
        "edited_content": None,
        "edited_at": None,
        "reply_to": None,
        "status": "completed",
        "superseded_at": None,
        "input_tokens": None,
        "output_tokens": None,
        "agent_name": None,
    }
    return SimpleNamespace(**(given | {"role": role, "content": content} | columns))


def written(writer: Writer, *rows: Any, title: str | None = "Plans") -> str:
    return writer.head(conversation(title), NOON) + "".join(map(writer.message, rows)) + writer.tail()


# --- Markdown ---------------------------------------------------------------------------------------------


def test_markdown_shows_authors_times_and_effective_contents() -> None:
    later = NOON.astimezone(timezone(timedelta(hours=2))) + timedelta(minutes=1)
    text = written(
        MarkdownWriter(),
        row("What *is* it?\n\n- one"),
        row("That.", "assistant", agent_name="Guide", status="stopped"),
        row("Old wording", edited_content="New wording", edited_at=later),
        row("Nobody's answer", "assistant"),
        row("Be kind.", "system"),
    )
    assert (
        text
        == """\
# Plans

Begun 2026-03-04 12:00:00 UTC, exported 2026-03-04 12:00:00 UTC.

## User

*2026-03-04 12:00:00 UTC*

What *is* it?

- one

## Guide

*2026-03-04 12:00:00 UTC, stopped*

That.

## User

*2026-03-04 12:00:00 UTC, edited 2026-03-04 12:01:00 UTC*

New wording

## Assistant

*2026-03-04 12:00:00 UTC*

Nobody's answer

## System

*2026-03-04 12:00:00 UTC*

Be kind.
"""
    )


def headings(text: str) -> list[str]:
    tokens = MarkdownIt().parse(text)
    contents = [after for token, after in pairwise(tokens) if token.type == "heading_open"]
    return ["".join(child.content for child in token.children or ()) for token in contents]


@pytest.mark.parametrize(
    "content",
    [
        "```python\nprint()",
        "~~~\ncode",
        "````\n```\ncode",
        "```\ncode\n``` not the end",
        "   ```\ncode",
        "```\r\ncode",
        "```a`b\n```\ncode",
        "```\ncode\n```",
        "no code",
    ],
)
def test_open_code_block_is_closed(content: str) -> None:
    text = written(MarkdownWriter(), row(content), row("next", "assistant", agent_name="Guide"))
    assert headings(text) == ["Plans", "User", "Guide"]
    assert content in text


NAMES = st.text(st.sampled_from("ab*_`[](){}<>#|~&!\\\n\r\t -+=.1&amp;"), min_size=1, max_size=30).filter(
    lambda name: name.strip() != ""
)


@given(NAMES, NAMES)
def test_titles_and_names_are_escaped_in_markdown(title: str, name: str) -> None:
    text = written(MarkdownWriter(), row("said", "assistant", agent_name=name), title=title)
    assert headings(text) == [" ".join(title.split()), " ".join(name.split())]


def test_conversation_without_a_title_is_exported() -> None:
    assert written(MarkdownWriter(), title=None).startswith("# Conversation\n")


# --- JSON -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_holds_everything_that_is_stored(count: int) -> None:
    said = [
        row(f'"{number}" \\ \n é', "assistant", agent_name="Guide", input_tokens=1, output_tokens=2)
        for number in range(count)
    ]
    text = written(JsonWriter(), *said)
    document = json.loads(text)
    assert set(document) == {"format", "version", "exportedAt", "conversation", "messages"}
    assert document["exportedAt"] == "2026-03-04T12:00:00.123Z"
    export = ConversationExport.model_validate_json(text, by_alias=True, by_name=False)
    assert export.conversation == conversation().model_copy(
        update={"created_at": export.conversation.created_at, "updated_at": export.conversation.updated_at}
    )
    assert [message.content for message in export.messages] == [each.content for each in said]
    assert all(message.agent_name == "Guide" for message in export.messages)
    assert json.loads(export.model_dump_json(by_alias=True)) == document
