"""For tests of the handlers: the whole application on a real PostgreSQL, and a client that speaks JSON."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import Application

from chatserver.app import App
from chatserver.settings import Settings
from chatserver.web.http.server import Server
from tests.kit import served_app
from tests.kit.http_client import Client, Response


def pytest_collection_finish() -> None:
    """Leave asyncio without a current loop, not even one that it would make when first asked.

    pytest-tornasync asks, to restore it after each test; `AsyncHTTPTestCase` drops it, and nobody would close it.
    """
    asyncio.set_event_loop(None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The tests of streams run with both ways out: straight to the socket, and Tornado's own."""
    if metafunc.module.__name__.rpartition(".")[2].startswith("test_stream_"):
        metafunc.parametrize("way_out", ["fast", "ordinary"], indirect=True)


@pytest.fixture(autouse=True)
def way_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(served_app.DEFAULTS, "fast_flush", getattr(request, "param", "fast") == "fast")


class Api:
    """Speaks to the server under test, for a company of the test's own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.company = str(uuid4())

    async def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """`body` is sent as JSON, unless it is bytes."""
        return await self._client.request(method, path, body, headers)

    async def get(self, path: str, **headers: str) -> Response:
        return await self.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def post(self, path: str, body: Any = None) -> Response:
        return await self.request("POST", path, body)

    async def put(self, path: str, body: Any = None) -> Response:
        return await self.request("PUT", path, body)

    async def patch(self, path: str, body: Any = None) -> Response:
        return await self.request("PATCH", path, body)

    async def delete(self, path: str) -> Response:
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
    """The application that pytest-tornasync serves."""
    return chat.web


@pytest.fixture
def http_server(
    app: Application, chat: App, http_server_port: tuple[socket.socket, int], io_loop: IOLoop
) -> Iterator[HTTPServer]:
    """In place of the one of pytest-tornasync: the server that operators run."""
    server = Server(app, settings=chat.settings, metrics=chat.metrics)
    server.add_socket(http_server_port[0])
    yield server
    server.stop()
    io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def client(http_server: HTTPServer, http_server_port: tuple[socket.socket, int], io_loop: IOLoop) -> Iterator[Client]:
    """A client of the application that pytest-tornasync serves."""
    client = Client(http_server_port[1])
    yield client
    io_loop.run_sync(client.close)


@pytest.fixture
def api(client: Client) -> Api:
    return Api(client)
