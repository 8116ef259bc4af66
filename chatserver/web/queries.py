"""The queries of the lists, and their bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from chatserver.schemas import MAX_TITLE_CHARS, Id, Text, Wire
from chatserver.web.parsing import Cursor, WholeNumber


class ListConversations(Wire):
    """Query of GET …/conversations; `q` is looked for in titles."""

    limit: Annotated[WholeNumber, Field(ge=1, le=100)] = 30
    cursor: Cursor | None = None
    archived: Literal["false", "true", "all"] = "false"
    agent_id: Id | None = None
    q: Annotated[Text, StringConstraints(min_length=1, max_length=MAX_TITLE_CHARS)] | None = None


class ListMessages(Wire):
    """Query of GET …/messages."""

    limit: Annotated[WholeNumber, Field(ge=1, le=200)] = 50
    cursor: Cursor | None = None
    order: Literal["asc", "desc"] = "asc"
    superseded: Literal["exclude", "include"] = "exclude"


class ListAgents(Wire):
    """Query of GET …/agents."""

    limit: Annotated[WholeNumber, Field(ge=1, le=100)] = 30
    cursor: Cursor | None = None
