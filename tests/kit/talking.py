"""Clients that say something again and again, and remember what was acknowledged."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.kit.http_client import Client

_PAUSE_SECONDS = 0.01


class Talk:
    """What was said in `conversation`: `acknowledged` contents, `refused` statuses, and how long the slowest took."""

    def __init__(self, conversation: str, more_bytes: int) -> None:
        self.conversation = conversation
        self.acknowledged: list[str] = []
        self.refused: list[int] = []
        self.slowest_seconds = 0.0
        self._more_bytes = more_bytes
        self._said = 0

    async def say(self, client: Client) -> None:
        """Say one thing more."""
        self._said += 1
        content = f"{self._said} {secrets.token_hex(self._more_bytes // 2)}"
        began = time.monotonic()
        path = f"/api/conversations/{self.conversation}/messages"
        response = await client.request("POST", path, {"role": "user", "content": content})
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
        if response.status == 201:
            self.acknowledged.append(content)
        else:
            self.refused.append(response.status)
            assert int(response.headers["Retry-After"]) > 0

    async def stored(self, client: Client) -> list[str]:
        """All that the conversation holds."""
        items: list[str] = []
        query = "?limit=200"
        while True:
            page = await client.ok("GET", f"/api/conversations/{self.conversation}/messages{query}")
            items += [message["content"] for message in page["items"]]
            if not page["hasMore"]:
                return items
            query = f"?limit=200&cursor={page['nextCursor']}"


@asynccontextmanager
async def talking(clients: Sequence[Client], *, more_bytes: int = 0) -> AsyncIterator[Talk]:
    """In here each client says one thing after another, in one conversation. `more_bytes` make each of them longer."""
    talk = Talk(await clients[0].conversation(), more_bytes)
    ended = asyncio.Event()

    async def go_on(client: Client) -> None:
        while not ended.is_set():
            await talk.say(client)
            await asyncio.sleep(_PAUSE_SECONDS)

    tasks = [asyncio.create_task(go_on(client)) for client in clients]
    try:
        yield talk
    finally:
        ended.set()
        await asyncio.gather(*tasks)
