"""What a route is, as plain data: its path, and what each method takes, answers and refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from chatserver.web.http.base_handler import Handler


@dataclass(frozen=True, slots=True)
class Header:
    """A header of a request or of an answer; `schema` is its JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a route. `id` is its name in generated clients.

    `status` and `response` are those of success; None: there is no such body or query.
    `content` stands in for `response` where the answer is not, or not only, JSON: models by media type; without a
    model it is text. `also` names the other statuses of success, with what they mean; each but 204 has the same body.
    `headers` are those of the request, `answer_headers` those of success. `refusals` says what a status of refusal
    means here; those that the parameters and the body alone explain need not be named.
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
    answer_headers: tuple[Header, ...] = ()
    refusals: Mapping[int, str] = field(default_factory=dict)

    @property
    def answers(self) -> Mapping[str, type[BaseModel] | None]:
        """The models of success by media type; empty where there is no body."""
        if self.content or self.response is None:
            return self.content
        return {"application/json": self.response}


@dataclass(frozen=True, slots=True)
class Route:
    """A path, whose `{parameters}` are handed to the handler in order, and what can be done there."""

    path: str
    handler: type[Handler]
    operations: Mapping[str, Operation]

    @property
    def pattern(self) -> str:
        """Parameters take anything but a slash, so that a malformed id is told from an unknown path."""
        return re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(self.path))

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters."""
        return re.findall(r"{(\w+)}", self.path)
