"""Lists, searches and single conversations, read in between: what was acknowledged must be there already."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any
from urllib.parse import quote

from scripts.torturing.history import Conversation, History
from scripts.torturing.servers import Server
from scripts.torturing.world import World

PAGE = 200


class Looking:
    def __init__(self, world: World) -> None:
        self._world = world
        self._history = world.history

    async def look(self, random: Random, conversation: Conversation) -> None:
        server = self._world.server(random)
        match random.randrange(5):
            case 0:
                path = f"/companies/{self._world.company}/conversations?limit=20"
                await self._world.call(server, "conversations", "GET", path)
            case 1:
                await self._world.call(
                    server, "conversation", "GET", f"/conversations/{conversation.id}", conversation.id
                )
            case 2:
                messages = self._world.messages_of(conversation.id)
                words = random.choice(messages).content.split()[0] if messages else "nothing"
                path = f"/companies/{self._world.company}/search?q={quote(words)}"
                await self._world.call(server, "search", "GET", path)
            case _:
                await self.messages(server, conversation)

    async def messages(self, server: Server, conversation: Conversation) -> list[dict[str, Any]] | None:
        """The whole list, superseded ones included, and checked. None: it was refused."""
        history = self._history
        began = history.now()
        known = {message.id for message in self._world.messages_of(conversation.id) if message.acked < began}
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            path = f"/conversations/{conversation.id}/messages?limit={PAGE}&superseded=include{cursor}"
            answer = await self._world.call(server, "messages", "GET", path, conversation.id)
            if not answer.ok:
                return None
            items += answer.json["items"]
            if not answer.json["hasMore"]:
                break
            cursor = f"&cursor={quote(answer.json['nextCursor'])}"
        if conversation.erasures:
            return items
        listed = Counter(item["id"] for item in items)
        for message_id in known - listed.keys():
            message = history.messages[message_id]
            trigger = None if message.reply_to is None else history.messages.get(message.reply_to)
            if message.erasures or (trigger is not None and trigger.erasures):
                continue
            history.violate("lost message", f"{server.name} does not list {message_id}", conversation.id, began)
        doubles(self._world.history, conversation.id, items)
        return items


def doubles(history: History, conversation: str, items: list[dict[str, Any]]) -> None:
    """No message is listed twice, and at most one answer of a trigger is live."""
    for message_id, times in Counter(item["id"] for item in items).items():
        if times > 1:
            history.violate("double message", f"{message_id} is listed {times} times", conversation)
    live = Counter(item["replyTo"] for item in items if item["replyTo"] is not None and item["supersededAt"] is None)
    for trigger, times in live.items():
        if times > 1:
            history.violate("two answers", f"trigger {trigger} has {times} live answers", conversation)
