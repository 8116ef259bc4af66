"""The one route table, as plain data: Tornado's routes are made from it, and a description of the API can be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from tornado.routing import URLSpec

from chatserver import logs, schemas
from chatserver.services.agents import AgentPage
from chatserver.services.chat import ConversationPage, MessagePage
from chatserver.web import agents, conversations, health, messages, page, queries, session, stream
from chatserver.web.base import Handler, NotFoundHandler
from chatserver.web.limits import BoundedApplication
from chatserver.web.services import Services


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a route. `status` and `response` are those of success; None: there is no such body or query."""

    summary: str
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    status: int = 200
    query: type[BaseModel] | None = None


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


ROUTES: tuple[Route, ...] = (
    Route(
        "/api/companies/{companyId}/conversations",
        conversations.ConversationsHandler,
        {
            "GET": Operation(
                "List conversations, pinned first, then newest",
                response=ConversationPage,
                query=queries.ListConversations,
            ),
            "POST": Operation("Create a conversation", schemas.CreateConversation, schemas.Conversation, status=201),
        },
    ),
    Route(
        "/api/conversations/{id}",
        conversations.ConversationHandler,
        {
            "GET": Operation("Get a conversation", response=schemas.Conversation),
            "PATCH": Operation("Change a conversation", schemas.UpdateConversation, schemas.Conversation),
            "DELETE": Operation("Delete a conversation; it can be restored", status=204),
        },
    ),
    Route(
        "/api/conversations/{id}/restore",
        conversations.RestoreHandler,
        {"POST": Operation("Undo the deletion of a conversation", response=schemas.Conversation)},
    ),
    Route(
        "/api/conversations/{id}/archive",
        conversations.ArchiveHandler,
        {"POST": Operation("Archive a conversation", response=schemas.Conversation)},
    ),
    Route(
        "/api/conversations/{id}/unarchive",
        conversations.UnarchiveHandler,
        {"POST": Operation("Take a conversation out of the archive", response=schemas.Conversation)},
    ),
    Route(
        "/api/conversations/{id}/pin",
        conversations.PinHandler,
        {"POST": Operation("Pin a conversation", response=schemas.Conversation)},
    ),
    Route(
        "/api/conversations/{id}/unpin",
        conversations.UnpinHandler,
        {"POST": Operation("Unpin a conversation", response=schemas.Conversation)},
    ),
    Route(
        "/api/conversations/{id}/branch",
        conversations.BranchHandler,
        {
            "POST": Operation(
                "Copy a conversation up to a message", schemas.BranchConversation, schemas.Conversation, status=201
            )
        },
    ),
    Route(
        "/api/conversations/{id}/messages",
        messages.MessagesHandler,
        {
            "GET": Operation("List messages", response=MessagePage, query=queries.ListMessages),
            "POST": Operation("Add a message", schemas.CreateMessage, schemas.ChatMessage, status=201),
        },
    ),
    Route(
        "/api/conversations/{id}/messages/{messageId}",
        messages.MessageHandler,
        {"PUT": Operation("Edit a message; the original is kept", schemas.EditMessage, schemas.ChatMessage)},
    ),
    Route(
        "/api/conversations/{id}/messages/{messageId}/rewind",
        messages.RewindHandler,
        {"POST": Operation("Supersede all that follows a message", response=schemas.Superseded)},
    ),
    Route(
        "/api/conversations/{id}/stream",
        stream.StreamHandler,
        {
            "GET": Operation("Stream the answer to a message as Server-Sent Events", query=stream.StreamQuery),
            "POST": Operation(
                "Add a user message and stream its answer", schemas.StreamMessage, query=stream.PostStreamQuery
            ),
        },
    ),
    Route(
        "/api/conversations/{id}/stop",
        stream.StopHandler,
        {"POST": Operation("Stop the answer that is being generated", schemas.StopAnswer, schemas.Stopped)},
    ),
    Route(
        "/api/companies/{companyId}/agents",
        agents.AgentsHandler,
        {
            "GET": Operation("List agents", response=AgentPage, query=queries.ListAgents),
            "POST": Operation("Create an agent", schemas.CreateAgent, schemas.Agent, status=201),
        },
    ),
    Route(
        "/api/agents/{id}",
        agents.AgentHandler,
        {
            "GET": Operation("Get an agent", response=schemas.Agent),
            "PATCH": Operation("Change an agent", schemas.UpdateAgent, schemas.Agent),
            "DELETE": Operation("Delete an agent", status=204),
        },
    ),
    Route(
        "/api/session",
        session.SessionHandler,
        {
            "GET": Operation("Who is asking", response=schemas.Session),
            "POST": Operation("Sign in", status=204),
            "DELETE": Operation("Sign out", status=204),
        },
    ),
)
"""The API."""

BESIDE_THE_API: tuple[tuple[str, type[Handler]], ...] = (
    (r"/healthz", health.HealthHandler),
    (r"/readyz", health.ReadyHandler),
    (r"/metrics", health.MetricsHandler),
    (r"/static/(.+)", page.StaticHandler),
    (r"/(?:c/.*)?", page.PageHandler),
)
"""What else there is: patterns, not paths."""


def make_application(services: Services, **settings: Any) -> BoundedApplication:
    """All of the web layer as one Tornado application. `settings` are Tornado's own."""

    def log_request(handler: Handler) -> None:
        logs.log_request(handler)
        seconds = handler.request.request_time() if handler.timed else None
        services.metrics.request(type(handler).__name__, handler.request.method or "", handler.get_status(), seconds)

    given = {"services": services}
    patterns = [(route.pattern, route.handler) for route in ROUTES] + list(BESIDE_THE_API)
    return BoundedApplication(
        [URLSpec(pattern, handler, given) for pattern, handler in patterns],
        default_handler_class=NotFoundHandler,
        default_handler_args=given,
        max_body_bytes=services.settings.max_body_bytes,
        log_function=log_request,
        **settings,
    )
