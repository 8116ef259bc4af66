"""The formats of an exported conversation: each writes a head, messages and a tail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from sqlalchemy import Row

from chatserver.schemas import Conversation, ConversationExport, ExportedMessage
from chatserver.services.contained_markdown import contain
from chatserver.services.to_wire import to_message
from chatserver.storage.messages import Superseded

Format = Literal["markdown", "json"]


class Writer(Protocol):
    """Writes one conversation. Its methods are called in the order in which they stand here."""

    superseded: Superseded
    """Whether superseded messages are written."""

    def head(self, conversation: Conversation, exported_at: datetime) -> str: ...

    def message(self, row: Row[Any]) -> str:
        """Write one message; `row` is one of `storage.export`."""

    def tail(self) -> str: ...


# --- JSON -------------------------------------------------------------------------------------------------


class JsonWriter:
    """JSON: everything that is stored of a conversation, as one `ConversationExport`."""

    superseded: Superseded = "include"

    def __init__(self) -> None:
        self._separator = "\n"

    def head(self, conversation: Conversation, exported_at: datetime) -> str:
        export = ConversationExport(exported_at=exported_at, conversation=conversation, messages=[])
        head, end = _split(export.model_dump_json(by_alias=True))
        self._tail = f"\n{end}\n"
        return head

    def message(self, row: Row[Any]) -> str:
        message = ExportedMessage(**dict(to_message(row)), agent_name=row.agent_name)
        text = self._separator + message.model_dump_json(by_alias=True)
        self._separator = ",\n"
        return text

    def tail(self) -> str:
        return self._tail


def _split(document: str) -> tuple[str, str]:
    """A document whose last value is an empty list, cut in two inside that list."""
    assert document.endswith("[]}"), "the messages come last"
    return document[:-2], document[-2:]


# --- Markdown ---------------------------------------------------------------------------------------------

# Characters that could be read as Markdown or as HTML within a line.
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&!])")


class MarkdownWriter:
    """Markdown, for people: who said what, and when. Edited messages in their newest wording, no superseded ones.

    Each message is contained: a Markdown reader shows it as if it stood alone.
    """

    superseded: Superseded = "exclude"

    def head(self, conversation: Conversation, exported_at: datetime) -> str:
        title = _inline(conversation.title or "Conversation")
        return f"# {title}\n\nBegun {_time(conversation.created_at)}, exported {_time(exported_at)}.\n"

    def message(self, row: Row[Any]) -> str:
        notes = [_time(row.created_at)]
        if row.model is not None:
            notes.append(_inline(row.model))
        if row.edited_at is not None:
            notes.append(f"edited {_time(row.edited_at)}")
        if row.status == "stopped":
            notes.append("stopped")
        content = row.content if row.edited_content is None else row.edited_content
        return f"\n## {_author(row)}\n\n*{', '.join(notes)}*\n\n{contain(content)}\n"

    def tail(self) -> str:
        return ""


def _author(row: Row[Any]) -> str:
    if row.role == "assistant":
        return "Agent" if row.agent_name is None else _inline(row.agent_name)
    if row.role == "user" and row.author is not None:
        return _inline(row.author)
    return str(row.role).capitalize()


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _inline(text: str) -> str:
    """Text for a heading: one line, in which Markdown is escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


WRITERS: Mapping[Format, type[Writer]] = {"markdown": MarkdownWriter, "json": JsonWriter}
