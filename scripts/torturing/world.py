"""What all clients share: the servers, the conversations, and the recorded requests."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from scripts.torturing.history import Conversation, History, Message, Post, Request, Write
from scripts.torturing.markers import Markers
from scripts.torturing.options import Options
from scripts.torturing.servers import Server
from scripts.torturing.wire import Exchange, LostError

# A request that gets no answer for so long is lost; without a fault that is a violation.
PATIENCE_SECONDS = 30.0
# A conversation that has so many messages gets no new ones: another one takes its place.
MOST_MESSAGES = 40


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a plain request. `status` 0: none came."""

    status: int
    json: Any = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class World:
    """`slots` are the conversations in use; None: to be made by the next that needs it."""

    def __init__(self, options: Options, history: History, servers: list[Server], words: Markers) -> None:
        self.options = options
        self.history = history
        self.servers = servers
        self.markers = words
        self.company = str(uuid.uuid4())
        self.echo_agent: str | None = None
        self.slots: list[Conversation | None] = [None] * max(2, options.clients)
        self._making = asyncio.Lock()

    # --- whom to ask --------------------------------------------------------------------------------------

    def server(self, random: Random) -> Server:
        """One that is up, if any is."""
        first = random.randrange(len(self.servers))
        order = [self.servers[(first + more) % len(self.servers)] for more in range(len(self.servers))]
        return next((server for server in order if server.up), order[0])

    async def conversation(self, random: Random) -> Conversation | None:
        """The conversation of a slot; None: it could not be made now."""
        place = random.randrange(len(self.slots))
        echo = random.random() < 0.25
        async with self._making:
            found = self.slots[place]
            if found is None or self._used_up(found):
                found = self.slots[place] = await self.make(self.server(random), echo=echo)
            return found

    def _used_up(self, conversation: Conversation) -> bool:
        return bool(conversation.erasures) or len(self.messages_of(conversation.id)) > MOST_MESSAGES

    async def make(self, server: Server, *, echo: bool) -> Conversation | None:
        if echo and self.echo_agent is None:
            body = {"name": "echo", "adapterType": "echo"}
            made = await self.call(server, "agent", "POST", f"/companies/{self.company}/agents", body=body)
            if not made.ok:
                return None
            self.echo_agent = str(made.json["id"])
        agent = {"agentId": self.echo_agent} if echo else {}
        made = await self.call(server, "new", "POST", f"/companies/{self.company}/conversations", body=agent)
        if not made.ok:
            return None
        conversation = Conversation(str(made.json["id"]), echo)
        self.history.conversations[conversation.id] = conversation
        return conversation

    def messages_of(self, conversation: str, role: str | None = None) -> list[Message]:
        """The known ones that nobody tried to erase."""
        return [
            message
            for message in self.history.messages.values()
            if message.conversation == conversation and not message.erasures and role in (None, message.role)
        ]

    # --- requests -----------------------------------------------------------------------------------------

    async def call(
        self,
        server: Server,
        kind: str,
        method: str,
        path: str,
        conversation: str | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        cut_after: int | None = None,
    ) -> Answer:
        """A plain request, recorded."""
        history = self.history
        request = Request(method, kind, server.number, conversation, history.now())
        history.requests.append(request)
        history.counts[kind] += 1
        exchange = Exchange(server.port, server.connections, cut_after=cut_after, patience_seconds=PATIENCE_SECONDS)
        answer = Answer(0)
        try:
            await exchange.begin(method, f"/api{path}", body, headers)
            request.status = exchange.status
            request.retry_after = "retry-after" in exchange.headers
            data = await exchange.whole()
            request.body = data[:300].decode(errors="replace")
            answer = Answer(exchange.status, json.loads(data) if data else None)
        except LostError as error:
            request.lost = error.why
        finally:
            request.ended = history.now()
            await exchange.close()
        if conversation is not None:
            result = f"lost ({request.lost})" if request.lost else f"{answer.status}"
            detail = "" if answer.ok or request.lost else f" {request.body}"
            history.note(conversation, f"{method} {path} at {server.name}: {result}{detail}")
        return answer

    async def change(
        self,
        server: Server,
        kind: str,
        method: str,
        path: str,
        conversation: str,
        logs: list[list[Write]],
        *,
        body: Any = None,
        value: str = "",
        cut_after: int | None = None,
    ) -> Answer:
        """A request that changes something: it stands in `logs` from before it is sent."""
        write = Write(self.history.now(), value=value)
        for log in logs:
            log.append(write)
        answer = await self.call(server, kind, method, path, conversation, body=body, cut_after=cut_after)
        if answer.ok:
            write.acked = self.history.now()
        elif 400 <= answer.status < 500:
            write.refused = True
        return answer

    async def erase_all(self, random: Random, conversation: Conversation, *, cut_after: int | None = None) -> None:
        """DELETE a conversation for good."""
        await self.change(
            self.server(random),
            "erase all",
            "DELETE",
            f"/conversations/{conversation.id}?erase=true",
            conversation.id,
            [conversation.erasures],
            cut_after=cut_after,
        )

    async def undelete(self, random: Random, conversation: Conversation) -> None:
        await self.change(
            self.server(random),
            "undelete",
            "POST",
            f"/conversations/{conversation.id}/restore",
            conversation.id,
            [conversation.restorations],
        )

    def text(self, random: Random) -> str:
        """A new user message, with its marker."""
        marker = self.markers.new()
        return " ".join([marker, *(f"{marker}-{number}" for number in range(random.randint(0, 40)))])

    async def say(self, random: Random, conversation: Conversation, *, with_key: bool, hasty: bool) -> Message | None:
        """POST a user message. With a key, it is sent again until it is taken, or the server refuses it."""
        content = self.text(random)
        self.history.posts[content] = Post(conversation.id, content)
        headers = {"Idempotency-Key": str(uuid.UUID(int=random.getrandbits(128)))} if with_key else {}
        again = with_key and random.random() < 0.2
        for attempt in range(8):
            answer = await self.call(
                self.server(random),
                "message",
                "POST",
                f"/conversations/{conversation.id}/messages",
                conversation.id,
                body={"role": "user", "content": content},
                headers=headers,
                cut_after=random.randint(0, 200) if hasty and attempt == 0 else None,
            )
            if answer.ok:
                message = self.took(conversation, str(answer.json["id"]), content)
                if not again:
                    return message
                again = False
            elif not with_key or 400 <= answer.status < 500:
                return None
            else:
                await asyncio.sleep(random.uniform(0.1, 0.8))
        return None

    def took(self, conversation: Conversation, message_id: str, content: str) -> Message:
        """A server has acknowledged a user message."""
        self.history.posts[content].ids.add(message_id)
        return self.history.messages.setdefault(
            message_id, Message(message_id, conversation.id, "user", content, self.history.now())
        )
