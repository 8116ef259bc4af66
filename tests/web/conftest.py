"""For tests of the handlers: the whole application on a real PostgreSQL, and a client that speaks JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from pytest_tornasync.plugin import AsyncHTTPServerClient  # type: ignore[import-untyped]
from tornado.httputil import HTTPHeaders
from tornado.ioloop import IOLoop
from tornado.web import Application

from chatserver.app import App
from chatserver.settings import Settings


def pytest_collection_finish() -> None:
    """Leave asyncio without a current loop, not even one that it would make when first asked.

    pytest-tornasync asks, to restore it after each test; `AsyncHTTPTestCase` drops it, and nobody would close it.
    """
    asyncio.set_event_loop(None)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: HTTPHeaders
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Of a refusal without details."""
        assert set(self.json) == {"error"}
        return self.status, self.json["error"]

    @property
    def wrong(self) -> list[str]:
        """Where a body or query is wrong."""
        assert (self.status, self.json["error"]) == (400, "Validation error")
        assert set(self.json) == {"error", "details"}
        assert all(set(detail) == {"path", "message"} for detail in self.json["details"])
        return [detail["path"] for detail in self.json["details"]]


class Api:
    """Speaks to the server under test, for a company of the test's own."""

    def __init__(self, client: AsyncHTTPServerClient) -> None:
        self._client = client
        self.company = str(uuid4())

    async def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """`body` is sent as JSON, unless it is bytes."""
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body, ensure_ascii=False).encode()
            sent.setdefault("Content-Type", "application/json")
        answer = await self._client.fetch(
            path,
            method=method,
            body=body,
            headers=sent,
            raise_error=False,
            allow_nonstandard_methods=True,
            follow_redirects=False,
        )
        return Answer(answer.code, answer.headers, answer.body)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def post(self, path: str, body: Any = None) -> Answer:
        return await self.request("POST", path, body)

    async def put(self, path: str, body: Any = None) -> Answer:
        return await self.request("PUT", path, body)

    async def patch(self, path: str, body: Any = None) -> Answer:
        return await self.request("PATCH", path, body)

    async def delete(self, path: str) -> Answer:
        return await self.request("DELETE", path)

    # --- what a test needs to have ----------------------------------------------------------------------------

    @property
    def conversations(self) -> str:
        return f"/api/companies/{self.company}/conversations"

    @property
    def agents(self) -> str:
        return f"/api/companies/{self.company}/agents"

    async def conversation(self, **body: Any) -> str:
        """The path of a new one."""
        answer = await self.post(self.conversations, body)
        assert answer.status == 201, answer
        return f"/api/conversations/{answer.json['id']}"

    async def say(self, conversation: str, content: str, role: str = "user", **body: Any) -> Any:
        answer = await self.post(f"{conversation}/messages", {"role": role, "content": content, **body})
        assert answer.status == 201, answer
        return answer.json

    async def contents(self, conversation: str, query: str = "") -> list[str]:
        answer = await self.get(f"{conversation}/messages{query}")
        assert answer.status == 200, answer
        return [message["content"] for message in answer.json["items"]]


@pytest.fixture
def settings() -> Settings:
    """A module that needs others has a fixture of this name."""
    return Settings()


@pytest.fixture
def make_chat(settings: Settings, io_loop: IOLoop) -> Iterator[Callable[[str], App]]:
    """Builds servers on the database at a URL, and closes them."""
    made: list[App] = []

    def make(url: str) -> App:
        made.append(App(settings, url, {}))
        return made[-1]

    yield make
    for app in made:
        io_loop.run_sync(app.close)


@pytest.fixture
def chat(make_chat: Callable[[str], App], module_database_url: str) -> App:
    """Everything behind the socket."""
    return make_chat(module_database_url)


@pytest.fixture
def app(chat: App) -> Application:
    """What pytest-tornasync serves."""
    return chat.web


@pytest.fixture
def api(http_server_client: AsyncHTTPServerClient) -> Api:
    return Api(http_server_client)
