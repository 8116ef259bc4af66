"""The query parameters of the operations, and their bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from chatserver.schema_types import Id, Text, Wire
from chatserver.schemas import MAX_TITLE_CHARS
from chatserver.services.export_formats import Format
from chatserver.web.http.parsing import WHOLE_NUMBER, Cursor

MAX_QUERY_CHARS = 200

_LIMIT = "The most items of a page."


class ListConversations(Wire):
    """Query of GET …/conversations."""

    limit: Annotated[int, Field(ge=1, le=100, description=_LIMIT), WHOLE_NUMBER] = 30
    cursor: Cursor | None = None
    archived: Annotated[
        Literal["false", "true", "all"], Field(description="`false`: active; `true`: archived; `all`: both.")
    ] = "false"
    agent_id: Annotated[Id | None, Field(description="Only conversations of this agent.")] = None
    q: Annotated[
        Annotated[Text, StringConstraints(min_length=1, max_length=MAX_TITLE_CHARS)] | None,
        Field(description="Only conversations whose title contains this."),
    ] = None


class DeleteConversation(Wire):
    """Query of DELETE …/conversations/{id}."""

    erase: Annotated[
        Literal["false", "true"],
        Field(description="`true`: for good, deleted before or not; `false`: until it is restored."),
    ] = "false"


class ListMessages(Wire):
    """Query of GET …/messages."""

    limit: Annotated[int, Field(ge=1, le=200, description=_LIMIT), WHOLE_NUMBER] = 50
    cursor: Cursor | None = None
    order: Annotated[Literal["asc", "desc"], Field(description="`asc`: oldest first; `desc`: newest first.")] = "asc"
    superseded: Annotated[
        Literal["exclude", "include"], Field(description="Whether superseded messages are in the list.")
    ] = "exclude"
    render: Annotated[
        Literal["html"] | None,
        Field(
            description="`html`: each item also has `html`, the Markdown of an answer rendered as HTML, and "
            "`formerAnswers`, the superseded answers to a user message."
        ),
    ] = None


class ExportConversation(Wire):
    """Query of GET …/export."""

    format: Annotated[
        Format,
        Field(description="`markdown`: for people. `json`: everything that is stored, for programs."),
    ] = "markdown"


class Search(Wire):
    """Query of GET …/search."""

    q: Annotated[
        Text,
        StringConstraints(min_length=1, max_length=MAX_QUERY_CHARS),
        Field(
            description='Words, `"quoted phrases"`, `-unwanted` words; the last word may be the beginning of a '
            "word. Matches have all of them."
        ),
    ]
    archived: Annotated[
        Literal["false", "true", "all"],
        Field(description="Searches in `false`: active conversations; `true`: archived ones; `all`: both."),
    ] = "all"
    limit: Annotated[int, Field(ge=1, le=100, description=_LIMIT), WHOLE_NUMBER] = 30
    cursor: Cursor | None = None


class ListBookmarks(Wire):
    """Query of GET …/bookmarks."""

    limit: Annotated[int, Field(ge=1, le=100, description=_LIMIT), WHOLE_NUMBER] = 30
    cursor: Cursor | None = None


class ListAgents(Wire):
    """Query of GET …/agents."""

    status: Annotated[
        Literal["active", "all"],
        Field(description="`all`: those that were deleted, too. Answers that they gave keep their names."),
    ] = "active"
    limit: Annotated[int, Field(ge=1, le=100, description=_LIMIT), WHOLE_NUMBER] = 30
    cursor: Cursor | None = None


class ListProviders(Wire):
    """Query of GET /providers."""

    company_id: Annotated[
        Id | None, Field(description="Only those that this company may use; by default those of all your companies.")
    ] = None
