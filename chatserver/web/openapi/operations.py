"""Routes as plain data: a path, and the requests, responses and refusals of each method."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from chatserver.web.http.base_handler import Handler


@dataclass(frozen=True, slots=True)
class Header:
    """A header of a request or of a response. `schema` is its JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a route. `id` is its name in generated clients.

    `status` and `response` are those of success. `request`, `response`, `query` None: there is none.
    `content` replaces `response` if the response is not, or not only, JSON: models by media type; without a model it is
    text. `also`: other statuses of success, with their meaning; each but 204 has the same body.
    `headers` are those of the request, `response_headers` those of a successful response. `refusals`: the meaning of
    error statuses here; those that follow from parameters and body need not be named.
    """

    id: str
    summary: str
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    status: int = 200
    query: type[BaseModel] | None = None
    description: str | None = None
    content: Mapping[str, type[BaseModel] | None] = field(default_factory=dict)
    also: Mapping[int, str] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()
    response_headers: tuple[Header, ...] = ()
    refusals: Mapping[int, str] = field(default_factory=dict)

    @property
    def responses(self) -> Mapping[str, type[BaseModel] | None]:
        """The models of a successful response by media type; empty: it has no body."""
        if self.content or self.response is None:
            return self.content
        return {"application/json": self.response}


@dataclass(frozen=True, slots=True)
class Route:
    """A path, its handler, and its operations by method.

    The `{parameters}` of the path are handed to the handler's methods in order, `handler_arguments` to `initialize`.
    """

    path: str
    handler: type[Handler]
    operations: Mapping[str, Operation]
    handler_arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pattern(self) -> str:
        """The regular expression of the path. Parameters match anything but a slash: a malformed id is not an "
        "unknown path."""
        return re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(self.path))

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters."""
        return re.findall(r"{(\w+)}", self.path)
