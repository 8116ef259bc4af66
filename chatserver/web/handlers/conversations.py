"""Conversations over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

from chatserver.schemas import BranchConversation, Conversation, CreateConversation, UpdateConversation
from chatserver.services.access import Actor, Need, Role
from chatserver.services.conversations import ConversationService
from chatserver.services.paging import in_pages
from chatserver.web.handler_context import HandlerContext
from chatserver.web.http.base_handler import ApiHandler
from chatserver.web.http.list_handler import ListHandler
from chatserver.web.http.long_request_handler import LongRequestHandler
from chatserver.web.http.parsing import parse_id
from chatserver.web.openapi.queries import DeleteConversation, ListConversations


class ConversationsHandler(ListHandler, GET=Need.READER, POST=Need.MEMBER):
    async def get(self, company_id: str) -> None:
        company, query = parse_id(company_id), self.query(ListConversations)
        read = partial(
            self.context.conversations.list_conversations,
            self.actor,
            company,
            archived=query.archived,
            agent_id=query.agent_id,
            title_contains=query.q,
        )
        await self.write_list(in_pages(read, query.limit, query.cursor), company)

    async def post(self, company_id: str) -> None:
        company, body = parse_id(company_id), self.body(CreateConversation)
        self.write_json(await self.context.conversations.create_conversation(self.actor, company, body), 201)


class ConversationHandler(ApiHandler, GET=Need.READER, PATCH=Need.MEMBER, DELETE=Need.MEMBER):
    async def get(self, conversation_id: str) -> None:
        self.write_json(await self.context.conversations.get_conversation(self.actor, parse_id(conversation_id)))

    async def patch(self, conversation_id: str) -> None:
        conversation, body = parse_id(conversation_id), self.body(UpdateConversation)
        self.write_json(await self.context.conversations.update_conversation(self.actor, conversation, body))

    async def delete(self, conversation_id: str) -> None:
        conversation, query = parse_id(conversation_id), self.query(DeleteConversation)
        if query.erase == "true":
            await self.require(Role.MANAGER)
            await self.context.conversations.erase_conversation(self.actor, conversation)
        else:
            await self.context.conversations.soft_delete_conversation(self.actor, conversation)
        self.write_nothing()


Action = Callable[[ConversationService, Actor, UUID], Awaitable[Conversation]]


class ActionHandler(ApiHandler, POST=Need.MEMBER):
    """Carries out one method of the conversation service that takes a conversation and nothing else."""

    def initialize(self, context: HandlerContext, action: Action) -> None:  # type: ignore[override]
        super().initialize(context)
        self._action = action

    @property
    def label(self) -> str:
        """`PinHandler` for `pin_conversation`: in the metrics each action has a name of its own."""
        return f"{self._action.__name__.partition('_')[0].capitalize()}Handler"

    async def post(self, conversation_id: str) -> None:
        self.write_json(await self._action(self.context.conversations, self.actor, parse_id(conversation_id)))


class BranchHandler(LongRequestHandler, POST=Need.MEMBER):
    async def post(self, conversation_id: str) -> None:
        conversation, body = parse_id(conversation_id), self.body(BranchConversation)
        branch = self.context.conversations.branch_conversation(self.actor, conversation, body.message_id)
        self.write_json(await self.unless_gone(branch), 201)
