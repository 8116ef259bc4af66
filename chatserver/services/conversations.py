"""The use cases of conversations and their messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Row

from chatserver.errors import ConflictError, NotFoundError
from chatserver.message_schemas import ChatMessage, Role, VersionedMessage
from chatserver.schemas import (
    Conversation,
    CreateConversation,
    CreateMessage,
    Page,
    UpdateConversation,
)
from chatserver.services.access import Actor
from chatserver.services.idempotent_send import IdempotencyKey, send
from chatserver.services.own_messages import if_allowed, is_looked_at
from chatserver.services.to_wire import added_message, to_conversation, to_message, to_versioned_message
from chatserver.services.turns import Turns
from chatserver.storage import conversations, erase, leases, messages, revisions
from chatserver.storage.branch import branch
from chatserver.storage.conversations import Archived
from chatserver.storage.messages import Order, Superseded
from chatserver.storage.postgres.database import Database
from chatserver.storage.postgres.heavy import HeavyCalls
from chatserver.storage.restore import Restored, restore
from chatserver.storage.rewind import rewind
from chatserver.storage.scope import Companies

ConversationPage = Page[Conversation]
MessagePage = Page[ChatMessage]
T = TypeVar("T")


class VersionedPage(Page[VersionedMessage]):
    """A page of messages that tell their former answers."""


class Answers(Protocol):
    """The answers that are being generated, as far as conversations need them."""

    async def stop_for_delete(self, conversation_id: UUID) -> None:
        """Stop the answer of a conversation that was deleted. Never fails."""

    async def drop_unread(self, conversation_id: UUID) -> None:
        """Drop the conversation's answers that have no readers and do not continue without."""

    def end_waiting(self, conversation_id: UUID, trigger_id: UUID) -> None:
        """End an answer that waits for its turn: its trigger was erased."""


class HistoryMessage(NamedTuple):
    """A live message as a model sees it; `content` is the effective one."""

    id: UUID
    role: Role
    content: str
    agent_id: UUID | None
    reply_to: UUID | None
    position: int


class ConversationService:
    """The first argument of each method is the actor. Raises NotFoundError for what does not exist for the actor."""

    def __init__(
        self,
        database: Database,
        answers: Answers,
        turns: Turns | None = None,
        *,
        forget: Callable[[UUID], None] = lambda _: None,
    ) -> None:
        """`turns` adds most messages; None: all go the general way. `forget`: called with an erased text's company."""
        self._forget = forget
        self._turns = turns
        self._database = database
        self._answers = answers

    # --- conversations ------------------------------------------------------------------------------------

    async def list_conversations(
        self,
        actor: Actor,
        company_id: UUID,
        *,
        limit: int = 30,
        cursor: str | None = None,
        archived: Archived = "false",
        agent_id: UUID | None = None,
        title_contains: str | None = None,
        heavy: bool = False,
    ) -> Page[Conversation]:
        """A page of a company's conversations: pinned first, then the newest. `heavy`: by the lane of heavy calls.

        A filter on titles goes by that lane in any case. Raises ForbiddenError for another company, ValidationError for
        a cursor of another list, and UnavailableError if too many heavy calls wait.
        """
        actor.require_company(company_id)
        # For a title, all conversations of the company may have to be looked at.
        heavy = heavy or title_contains is not None
        calls = self._database.heavy(company_id) if heavy else self._database
        page = await calls.autocommit(
            conversations.list_page,
            company_id=company_id,
            limit=limit,
            cursor=cursor,
            archived=archived,
            agent_id=agent_id,
            title_contains=title_contains,
        )
        items = [to_conversation(row) for row in page.rows]
        return ConversationPage(items=items, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)

    async def create_conversation(self, actor: Actor, company_id: UUID, body: CreateConversation) -> Conversation:
        """Raises ForbiddenError for another company."""
        actor.require_company(company_id)
        row = await self._database.autocommit(
            conversations.create, company_id=company_id, title=body.title, agent_id=body.agent_id
        )
        return to_conversation(row)

    async def get_conversation(self, actor: Actor, conversation_id: UUID) -> Conversation:
        return await self._one(conversations.find, actor, conversation_id)

    async def update_conversation(self, actor: Actor, conversation_id: UUID, body: UpdateConversation) -> Conversation:
        """Change the fields that `body` has, and no others. The conversation moves to the top of its list."""
        row = await self._database.autocommit(conversations.change, actor.scope, conversation_id, body.changes())
        return to_conversation(_found(row, "Conversation"))

    async def soft_delete_conversation(self, actor: Actor, conversation_id: UUID) -> None:
        """Hide a conversation with all its parts until it is restored, and stop its answer."""
        await self._database.transaction(_soft_delete, actor.scope, conversation_id)
        await self._answers.stop_for_delete(conversation_id)

    async def erase_conversation(self, actor: Actor, conversation_id: UUID) -> None:
        """Erase a conversation for good, deleted before or not. Its answer is stopped first.

        Raises UnavailableError if it is long and too many heavy calls wait; it is deleted by then.
        """
        hidden = await self._database.transaction(erase.hide_conversation, actor.scope, conversation_id)
        await self._answers.stop_for_delete(conversation_id)
        await self._calls_for(hidden).transaction(erase.erase_conversation, actor.scope, conversation_id)
        self._forget(hidden.company_id)

    async def restore_conversation(self, actor: Actor, conversation_id: UUID) -> Conversation:
        return await self._one(conversations.restore, actor, conversation_id)

    async def archive_conversation(self, actor: Actor, conversation_id: UUID) -> Conversation:
        """Archive a conversation. If it is archived already, its time stays."""
        return await self._one(conversations.archive, actor, conversation_id)

    async def unarchive_conversation(self, actor: Actor, conversation_id: UUID) -> Conversation:
        return await self._one(conversations.unarchive, actor, conversation_id)

    async def pin_conversation(self, actor: Actor, conversation_id: UUID) -> Conversation:
        """Pin a conversation. If it is pinned already, its time stays."""
        return await self._one(conversations.pin, actor, conversation_id)

    async def unpin_conversation(self, actor: Actor, conversation_id: UUID) -> Conversation:
        return await self._one(conversations.unpin, actor, conversation_id)

    async def branch_conversation(self, actor: Actor, conversation_id: UUID, message_id: UUID) -> Conversation:
        """A new conversation with copies of all live messages up to and with that message.

        Raises UnprocessableError if they are too many, or too long, and UnavailableError if too many heavy calls wait.
        """
        calls = self._database.heavy((await self.get_conversation(actor, conversation_id)).company_id)
        return to_conversation(await calls.transaction(_branch, actor.scope, conversation_id, message_id))

    # --- messages -----------------------------------------------------------------------------------------

    async def list_messages(
        self,
        actor: Actor,
        conversation_id: UUID,
        *,
        limit: int = 50,
        cursor: str | None = None,
        order: Order = "asc",
        superseded: Superseded = "exclude",
        versions: bool = False,
        heavy: UUID | None = None,
    ) -> tuple[MessagePage | VersionedPage, UUID]:
        """A page of a conversation's messages, bounded in bytes, and the conversation's company.

        `versions`: it is a `VersionedPage`. `heavy`: read it by the lane of heavy calls, in the turn of this company.
        Raises ValidationError for a cursor of another list, and UnavailableError if too many heavy calls wait.
        """
        calls = self._database if heavy is None else self._database.heavy(heavy)
        found = await calls.autocommit(
            messages.list_page,
            actor.scope,
            conversation_id,
            limit=limit,
            cursor=cursor,
            order=order,
            superseded=superseded,
            versions=versions,
        )
        if found is None:
            raise NotFoundError("Conversation not found")
        page, company_id = found
        has_more = page.next_cursor is not None
        if versions:
            told = [to_versioned_message(row) for row in page.rows]
            return VersionedPage(items=told, has_more=has_more, next_cursor=page.next_cursor), company_id
        items = [to_message(row) for row in page.rows]
        return MessagePage(items=items, has_more=has_more, next_cursor=page.next_cursor), company_id

    async def add_message(
        self,
        actor: Actor,
        conversation_id: UUID,
        body: CreateMessage,
        idempotency_key: str | None = None,
    ) -> tuple[ChatMessage, bool]:
        """Add a message; the message, and False if it was added before under the same idempotency key.

        Raises UnprocessableError if the key was used with another body.
        """
        if self._turns is not None:
            added = await self._turns.add_message(
                actor.scope,
                conversation_id,
                idempotency_key,
                role=body.role,
                content=body.content,
                agent_id=body.agent_id,
                author=actor.author,
            )
            if added is not None:
                return added_message(added), True
        # With a key it takes more than one statement.
        execute = self._database.autocommit if idempotency_key is None else self._database.transaction
        sent = await execute(
            send,
            actor.scope,
            conversation_id,
            None if idempotency_key is None else IdempotencyKey("messages", idempotency_key),
            role=body.role,
            content=body.content,
            agent_id=body.agent_id,
            author=actor.author,
        )
        return to_message(sent.message), sent.first

    async def edit_message(self, actor: Actor, conversation_id: UUID, message_id: UUID, content: str) -> ChatMessage:
        """Change the effective content of a message. The original is kept.

        Raises ForbiddenError if others wrote it and the actor is no manager.
        """
        # To look who wrote it takes a second statement.
        execute = self._database.transaction if is_looked_at(actor) else self._database.autocommit
        edit = if_allowed(actor, revisions.edit)
        row = await execute(edit, actor.scope, conversation_id, message_id, content)
        return to_message(_found(row, "Message"))

    async def get_message_history(self, actor: Actor, conversation_id: UUID) -> list[HistoryMessage]:
        """All live messages in ascending order with their effective content."""
        rows = await self._database.transaction(_history, actor.scope, conversation_id)
        return [HistoryMessage(**row._mapping) for row in rows]

    async def rewind_messages(self, actor: Actor, conversation_id: UUID, message_id: UUID) -> int:
        """Supersede all messages that follow a message; how many they were.

        Raises ConflictError while an answer is being generated that somebody reads, or that continues without readers,
        and UnavailableError if the conversation is long and too many heavy calls wait.
        """
        return await self._when_idle(rewind, actor, conversation_id, message_id)

    async def restore_messages(self, actor: Actor, conversation_id: UUID, message_id: UUID) -> Restored:
        """Make a superseded message live again, with its continuation; what stands in its place is superseded.

        Raises ConflictError and UnavailableError as `rewind_messages` does.
        """
        return await self._when_idle(restore, actor, conversation_id, message_id)

    async def erase_message(self, actor: Actor, conversation_id: UUID, message_id: UUID) -> None:
        """Erase a message for good, and the answers to it.

        Raises ForbiddenError if others wrote it and the actor is no manager, ConflictError while its answer is being
        generated that somebody reads, or that continues without readers, and UnavailableError as `rewind_messages`
        does.
        """
        company = await self._when_idle(if_allowed(actor, erase.erase_message), actor, conversation_id, message_id)
        self._answers.end_waiting(conversation_id, message_id)
        self._forget(company)

    async def _when_idle(
        self,
        function: Callable[[Connection, Companies, UUID, UUID], T],
        actor: Actor,
        conversation_id: UUID,
        message_id: UUID,
    ) -> T:
        calls = await self._calls_for_all_of(actor, conversation_id)
        try:
            return await calls.transaction(function, actor.scope, conversation_id, message_id)
        except ConflictError:
            # By now the conversation is known to exist for the actor. An answer that nobody reads makes way.
            await self._answers.drop_unread(conversation_id)
            return await calls.transaction(function, actor.scope, conversation_id, message_id)

    async def _calls_for_all_of(self, actor: Actor, conversation_id: UUID) -> Database | HeavyCalls:
        """For what may change every message of a conversation: each is indexed again for the search."""
        row = await self._database.autocommit(conversations.find, actor.scope, conversation_id)
        return self._calls_for(_found(row, "Conversation"))

    def _calls_for(self, conversation: Row[Any]) -> Database | HeavyCalls:
        """By the lane of heavy calls if a conversation is long. `conversation`: `company_id` and `last_position`."""
        heavy = conversation.last_position > erase.ROWS_A_STATEMENT
        return self._database.heavy(conversation.company_id) if heavy else self._database

    async def _one(
        self,
        function: Callable[[Connection, Companies, UUID], Row[Any] | None],
        actor: Actor,
        conversation_id: UUID,
    ) -> Conversation:
        row = await self._database.autocommit(function, actor.scope, conversation_id)
        return to_conversation(_found(row, "Conversation"))


def _history(connection: Connection, companies: Companies, conversation_id: UUID) -> list[Row[Any]]:
    _found(conversations.find(connection, companies, conversation_id), "Conversation")
    return list(messages.history(connection, conversation_id))


def _soft_delete(connection: Connection, companies: Companies, conversation_id: UUID) -> None:
    """Delete a conversation, and request the stop of its answer: neither happens without the other."""
    if not conversations.soft_delete(connection, companies, conversation_id):
        raise NotFoundError("Conversation not found")
    leases.request_stop(connection, conversation_id, keep=False)


def _branch(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> Row[Any]:
    new_id = branch(connection, companies, conversation_id, message_id)
    return _found(conversations.find(connection, companies, new_id), "Conversation")


def _found(row: Row[Any] | None, what: str) -> Row[Any]:
    if row is None:
        raise NotFoundError(f"{what} not found")
    return row
