"""A client of a chatserver on this machine: plain requests, and event streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPHeaders

from tests.kit.event_stream import EventStream
from tests.kit.http_connection import Connection, dechunk
from tests.kit.waiting import PATIENCE_SECONDS

COMPANY = "00000000-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class Response:
    status: int
    headers: HTTPHeaders
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """The status and the message of a refusal without details."""
        assert set(self.json) == {"error"}
        return self.status, self.json["error"]

    @property
    def wrong(self) -> list[str]:
        """The paths of the wrong parts of a body or query."""
        assert (self.status, self.json["error"]) == (400, "Validation error")
        assert set(self.json) == {"error", "details"}
        assert all(set(detail) == {"path", "message"} for detail in self.json["details"])
        return [detail["path"] for detail in self.json["details"]]


class Client:
    """Speaks to a server on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.headers: dict[str, str] = {}
        """What each request has, besides its own headers."""
        self._connections: list[Connection] = []

    async def connect(self, *, receive_buffer: int | None = None) -> Connection:
        """A connection that is closed at the end, if it was not before."""
        connection = await Connection.open(self.port, receive_buffer=receive_buffer)
        self._connections.append(connection)
        return connection

    async def close(self) -> None:
        for connection in self._connections:
            connection.close()
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await connection.writer.wait_closed()

    async def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        connection = await self.connect()
        try:
            await connection.send(method, path, body, {"Connection": "close", **self.headers, **(headers or {})})
            status, answered = await connection.head()
            raw = await connection.read()
            if answered.get("transfer-encoding") == "chunked":
                raw = dechunk(raw)
            return Response(status, answered, raw)
        finally:
            connection.close()

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        """The resource in a successful response."""
        response = await self.request(method, path, body)
        assert response.status in (200, 201, 204), response
        return response.json if response.body else None

    async def open(
        self,
        path: str,
        *,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
    ) -> EventStream:
        """A stream whose head was read."""
        connection = await self.connect(receive_buffer=receive_buffer)
        await connection.send(method, path, body, {**self.headers, **(headers or {})})
        status, answered = await connection.head()
        assert status == 200, (status, answered)
        return EventStream(connection, answered)

    # --- shorthands -----------------------------------------------------------------------------------------

    async def conversation(self, **body: Any) -> str:
        created = await self.ok("POST", f"/api/companies/{COMPANY}/conversations", body)
        return str(created["id"])

    async def say(self, conversation: str, content: str, role: str = "user", **body: Any) -> str:
        message = await self.ok(
            "POST", f"/api/conversations/{conversation}/messages", {"role": role, "content": content, **body}
        )
        return str(message["id"])

    async def messages(self, conversation: str, query: str = "") -> list[Any]:
        page = await self.ok("GET", f"/api/conversations/{conversation}/messages{query}")
        return list(page["items"])

    async def stream(
        self, conversation: str, trigger: str | None = None, *, last_id: str | None = None, **query: str
    ) -> EventStream:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        return await self.open(stream_path(conversation, trigger, **query), headers=headers)

    async def refused(
        self, conversation: str, trigger: str | None = None, *, last_id: str | None = None, **query: str
    ) -> Response:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        return await self.request("GET", stream_path(conversation, trigger, **query), headers=headers)


def stream_path(conversation: str, trigger: str | None = None, **query: str) -> str:
    if trigger is not None:
        query["triggerMessageId"] = trigger
    return f"/api/conversations/{conversation}/stream?" + "&".join(f"{name}={query[name]}" for name in query)
