"""Messages over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import RootModel

from chatserver.schemas import CreateMessage, EditMessage, Page, Restored, Superseded
from chatserver.services.access import Actor, Need, Role
from chatserver.services.conversations import MessagePage, VersionedPage
from chatserver.services.paging import in_pages
from chatserver.services.rendering import RenderedPage
from chatserver.web.handler_context import HandlerContext
from chatserver.web.http.base_handler import ApiHandler
from chatserver.web.http.list_handler import ListHandler
from chatserver.web.http.long_request_handler import LongRequestHandler
from chatserver.web.http.parsing import parse_id
from chatserver.web.openapi.queries import ListMessages


class MessageList(RootModel[MessagePage | RenderedPage]):
    """A page of messages; with `render=html` each item also has `html` and `formerAnswers`."""


class _Read:
    """Reads one list, page by page. `company`: whose it is, from the first page on."""

    company: UUID

    def __init__(self, context: HandlerContext, actor: Actor, conversation: UUID, query: ListMessages) -> None:
        self._context = context
        self._actor = actor
        self._conversation = conversation
        self.query = query

    async def __call__(self, *, limit: int, cursor: str | None, heavy: bool) -> Page[Any]:
        page, self.company = await self._context.conversations.list_messages(
            self._actor,
            self._conversation,
            limit=limit,
            cursor=cursor,
            order=self.query.order,
            superseded=self.query.superseded,
            versions=self.query.render is not None,
            heavy=self.company if heavy else None,
        )
        if isinstance(page, VersionedPage):
            return await self._context.rendering.render_page(page, self.company)
        return page


class MessagesHandler(ListHandler, GET=Need.READER, POST=Need.MEMBER):
    async def get(self, conversation_id: str) -> None:
        read = _Read(self.context, self.actor, parse_id(conversation_id), self.query(ListMessages))
        await self.write_list(in_pages(read, read.query.limit, read.query.cursor), lambda: read.company)

    async def post(self, conversation_id: str) -> None:
        conversation, body = parse_id(conversation_id), self.message_body(CreateMessage)
        key = self.idempotency_key()
        if body.role != "user":
            await self.require(Role.MANAGER)
        message, added = await self.context.conversations.add_message(self.actor, conversation, body, key)
        self.write_json(message, 201 if added else 200)


class MessageHandler(ApiHandler, PUT=Need.MEMBER, DELETE=Need.MEMBER):
    async def put(self, conversation_id: str, message_id: str) -> None:
        conversation, message = parse_id(conversation_id), parse_id(message_id)
        body = self.message_body(EditMessage)
        self.write_json(await self.context.conversations.edit_message(self.actor, conversation, message, body.content))

    async def delete(self, conversation_id: str, message_id: str) -> None:
        conversation, message = parse_id(conversation_id), parse_id(message_id)
        await self.context.conversations.erase_message(self.actor, conversation, message)
        self.write_nothing()


class RewindHandler(LongRequestHandler, POST=Need.MEMBER):
    async def post(self, conversation_id: str, message_id: str) -> None:
        conversation, message = parse_id(conversation_id), parse_id(message_id)
        rewind = self.context.conversations.rewind_messages(self.actor, conversation, message)
        self.write_json(Superseded(superseded=await self.unless_gone(rewind)))


class RestoreHandler(LongRequestHandler, POST=Need.MEMBER):
    async def post(self, conversation_id: str, message_id: str) -> None:
        conversation, message = parse_id(conversation_id), parse_id(message_id)
        restore = self.context.conversations.restore_messages(self.actor, conversation, message)
        restored = await self.unless_gone(restore)
        self.write_json(Restored(restored=restored.restored, superseded=restored.superseded))
