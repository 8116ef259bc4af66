"""After the faults: everything is started again, settles within a bound, and is written down for the checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg

from scripts.torturing import scanning
from scripts.torturing.database import TortureDatabase
from scripts.torturing.following import Following
from scripts.torturing.history import Conversation, Final
from scripts.torturing.looking import doubles
from scripts.torturing.model import Model
from scripts.torturing.world import World

# How long it may take until nothing is active any more: leases, graces, and interests of readers elsewhere run out.
SETTLE_SECONDS = 45.0
POLL_SECONDS = 0.25
AT_ONCE = 4
TRIES = 10


class Settling:
    def __init__(self, world: World, following: Following, database: TortureDatabase, model: Model) -> None:
        self._world = world
        self._history = world.history
        self._following = following
        self._database = database
        self._model = model
        self._final = Final()

    async def settle(self) -> Final:
        """Call it when all faults are over, all servers are up, and all clients have ended."""
        await self._each(self._bring_back)
        await self._until_quiet("before the last questions")
        await self._each(self._ask_once_more)
        await self._until_quiet("at the end")
        await self._each(self._read)
        await asyncio.to_thread(self._look_into_database)
        self._final.model_connections = self._model.connections
        return self._final

    async def _each(self, work: Callable[[Conversation], Awaitable[None]]) -> None:
        """`work` for all conversations, a few at once."""
        waiting = list(self._history.conversations.values())

        async def some() -> None:
            while waiting:
                await work(waiting.pop())

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(some())

    async def _bring_back(self, conversation: Conversation) -> None:
        """Undo a soft DELETE, and repeat a DELETE for good whose answer was lost."""
        random = self._world.options.random("settle", conversation.id)
        if conversation.erasures:
            await self._world.erase_all(random, conversation)
        elif conversation.deletions:
            await self._world.undelete(random, conversation)

    async def _until_quiet(self, when: str) -> None:
        """Wait until the model has no connections and the database no active runs and no transient rows."""
        deadline = self._history.now() + SETTLE_SECONDS
        while self._history.now() < deadline:
            rows = await asyncio.to_thread(self._transient_rows)
            if not rows and not self._model.connections:
                return
            await asyncio.sleep(POLL_SECONDS)
        self._final.unsettled.append(f"{when}: {rows}, {self._model.connections} connections to the model")

    def _transient_rows(self) -> dict[str, int]:
        with psycopg.connect(self._database.url, autocommit=True) as connection:
            return scanning.transient_rows(connection)

    async def _ask_once_more(self, conversation: Conversation) -> None:
        """A new question to each conversation gets an answer, or a failure of the model."""
        if conversation.erasures:
            return
        random = self._world.options.random("last", conversation.id)
        said = ""
        for _ in range(TRIES):
            stream = await self._following.to_end(random, self._following.ask(random, conversation, keyed=True))
            if stream.terminals and stream.terminals[-1]["type"] == "done":
                return
            said = f"{stream.status} {stream.end} {stream.terminals}"
            if not stream.terminals:
                await asyncio.sleep(0.5)
        self._final.stuck[conversation.id] = said

    async def _read(self, conversation: Conversation) -> None:
        """The lists and `activeRun`, at every process."""
        for server in self._world.servers:
            path = f"/conversations/{conversation.id}"
            answer = await self._world.call(server, "conversation", "GET", path, conversation.id)
            if answer.status == 404:
                self._final.gone.add(conversation.id)
                return
            if answer.ok and answer.json["activeRun"] is not None:
                self._final.active[conversation.id] = f"at {server.name}: {answer.json['activeRun']}"
        items: list[dict[str, object]] = []
        cursor = ""
        while True:
            path = f"/conversations/{conversation.id}/messages?limit=200&superseded=include{cursor}"
            answer = await self._world.call(self._world.servers[0], "messages", "GET", path, conversation.id)
            if not answer.ok:
                self._final.unsettled.append(f"the messages of {conversation.id} cannot be read: {answer.status}")
                return
            items += answer.json["items"]
            if not answer.json["hasMore"]:
                break
            cursor = f"&cursor={answer.json['nextCursor']}"
        doubles(self._history, conversation.id, items)
        self._final.messages[conversation.id] = items

    def _look_into_database(self) -> None:
        with psycopg.connect(self._database.url, autocommit=True) as connection:
            self._final.rows = scanning.transient_rows(connection)
            self._final.runs = scanning.runs(connection)
            self._final.markers = scanning.places_of_markers(connection)
