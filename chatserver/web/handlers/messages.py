"""Messages over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import RootModel

from chatserver.schemas import ChatMessage, CreateMessage, EditMessage, Superseded
from chatserver.services.conversations import MessagePage
from chatserver.services.paging import ReadPage, in_pages
from chatserver.services.rendering import RenderedPage
from chatserver.web.http.base_handler import ApiHandler
from chatserver.web.http.list_handler import ListHandler
from chatserver.web.http.parsing import parse_id
from chatserver.web.openapi.queries import ListMessages


class MessageList(RootModel[MessagePage | RenderedPage]):
    """A page of messages; with `render=html` each item also has `html`."""


class MessagesHandler(ListHandler):
    async def get(self, conversation_id: str) -> None:
        conversation, query = parse_id(conversation_id), self.query(ListMessages)
        conversations = self.context.conversations
        read: ReadPage[Any] = partial(
            conversations.list_messages, self.actor, conversation, order=query.order, superseded=query.superseded
        )
        company = partial(conversations.company_of, self.actor, conversation)
        if query.render is not None:
            read = partial(self._read_rendered, read, company)
        await self.write_list(in_pages(read, query.limit, query.cursor), company)

    async def _read_rendered(
        self,
        read: ReadPage[ChatMessage],
        company: Callable[[], Awaitable[UUID]],
        *,
        limit: int,
        cursor: str | None,
        heavy: bool,
    ) -> RenderedPage:
        page = await read(limit=limit, cursor=cursor, heavy=heavy)
        return await self.context.rendering.render_page(page, await company())

    async def post(self, conversation_id: str) -> None:
        conversation, body = parse_id(conversation_id), self.message_body(CreateMessage)
        key = self.idempotency_key()
        message, added = await self.context.conversations.add_message(self.actor, conversation, body, key)
        self.write_json(message, 201 if added else 200)


class MessageHandler(ApiHandler):
    async def put(self, conversation_id: str, message_id: str) -> None:
        conversation, message = parse_id(conversation_id), parse_id(message_id)
        body = self.message_body(EditMessage)
        self.write_json(await self.context.conversations.edit_message(self.actor, conversation, message, body.content))


class RewindHandler(ApiHandler):
    async def post(self, conversation_id: str, message_id: str) -> None:
        conversation, message = parse_id(conversation_id), parse_id(message_id)
        superseded = await self.context.conversations.rewind_messages(self.actor, conversation, message)
        self.write_json(Superseded(superseded=superseded))
