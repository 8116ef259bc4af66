"""The use cases of erasing a company, or all that a person wrote: beside running servers, and without any.

Each may be cut off at any moment, and done again: it goes on where it was. It ends when a look finds nothing that began
after all requests from before it were over: one that was under way may have added something that no look saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from chatserver.errors import ConflictError, NotFoundError, UnavailableError
from chatserver.storage import erase, erase_many
from chatserver.storage.postgres.database import Database

# How long a process may take to stop an answer. One that died stops within the time of its lease.
STOP_SECONDS = 120.0
LOOK_SECONDS = 0.1
# How long a request that was let in may take until its transaction has begun, and how long until it has ended.
BEGIN_SECONDS = 2.0
END_SECONDS = 120.0


@dataclass(slots=True)
class Erased:
    """How many of each were erased."""

    conversations: int = 0
    agents: int = 0
    tokens: int = 0
    messages: int = 0


class Erasing:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def erase_company(self, company_id: UUID) -> Erased:
        """Erase all conversations, agents and tokens of a company, with all that belongs to them.

        Its tokens go first, so hardly anybody can add anything meanwhile. What an administrator adds is erased, too.
        Raises UnavailableError if a process does not stop an answer.
        """
        erased = Erased()

        async def erase() -> bool:
            tokens, agents = await self._database.transaction(erase_many.erase_tokens_and_agents, company_id)
            conversations = await self._erase_conversations(company_id)
            erased.tokens += tokens
            erased.agents += agents
            erased.conversations += conversations
            return bool(tokens or agents or conversations)

        await self._repeat(erase)
        await self._database.transaction(erase_many.complete_company, company_id)
        return erased

    async def _erase_conversations(self, company_id: UUID) -> int:
        """Read the whole table once; how many conversations were erased."""
        erased, after = 0, erase_many.FIRST
        while True:
            end = await self._database.autocommit(erase_many.page_end, after)
            rows = await self._database.autocommit(erase_many.of_company, company_id, after, end)
            for step in erase_many.in_steps(rows):
                ids = [row.id for row in step]
                await self._database.transaction(erase_many.hide, ids)
                await self._unanswered(ids)
                erased += await self._database.transaction(erase_many.erase_of_company, company_id, ids)
            if end == erase_many.LAST:
                return erased
            after = end

    async def erase_author(self, author: str, company_id: UUID | None) -> Erased:
        """Erase all messages that a person wrote, each with the answers to it, in one company or in all.

        Raises UnavailableError if a process does not stop an answer.
        """
        erased = Erased()

        async def erase() -> bool:
            found = False
            while rows := await self._database.autocommit(erase_many.of_author, author, company_id):
                found = True
                for row in rows:
                    erased.messages += await self._erase_message(row.conversation_id, row.id)
            return found

        await self._repeat(erase)
        await self._database.transaction(erase_many.complete_author, author, company_id, erased.messages)
        return erased

    async def _erase_message(self, conversation_id: UUID, message_id: UUID) -> bool:
        """False: it is not there any more."""
        while True:
            try:
                await self._database.transaction(
                    erase.erase_message, None, conversation_id, message_id, deleted_too=True
                )
            except NotFoundError:
                return False
            except ConflictError:  # its answer is being generated
                await self._database.transaction(erase_many.request_stop, conversation_id)
                await self._unanswered([conversation_id])
            else:
                return True

    async def _repeat(self, erase: Callable[[], Awaitable[bool]]) -> None:
        """Call `erase` until it finds nothing that was begun before; it returns whether it found anything."""
        await erase()
        await self._ended()
        while await erase():
            await self._ended()

    async def _ended(self) -> None:
        """Wait until the requests of this moment have written what they write."""
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(BEGIN_SECONDS)
        deadline = clock() + END_SECONDS
        writers = await self._database.autocommit(erase_many.writers)
        while writers:
            if clock() > deadline:
                raise UnavailableError(
                    "A transaction that writes does not end: see pg_stat_activity. What is erased is erased: run the"
                    " command again when it is over"
                )
            await asyncio.sleep(LOOK_SECONDS)
            writers &= await self._database.autocommit(erase_many.writers)

    async def _unanswered(self, conversation_ids: Sequence[UUID]) -> None:
        """Wait until no process generates an answer there: it was asked to stop."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + STOP_SECONDS
        while await self._database.autocommit(erase_many.are_answered, conversation_ids):
            if clock() > deadline:
                raise UnavailableError(
                    "A server does not stop an answer. What is erased is erased: run the command again"
                )
            await asyncio.sleep(LOOK_SECONDS)
