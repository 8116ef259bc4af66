"""Requests that take long hold up nobody else, take turns by company, and end when their clients leave."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Connection, text

from chatserver import lanes
from chatserver.origin import Share, share
from chatserver.services import answer_store
from chatserver.services import conversations as conversation_service
from chatserver.services import search as search_service
from chatserver.storage import conversations, erase, export
from tests.kit.http_client import Client
from tests.kit.model_server import ModelServer
from tests.kit.served_app import Served, serving
from tests.kit.tokens import make_token
from tests.kit.waiting import PATIENCE_SECONDS, eventually


class Company:
    """Requests for a company of its own."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.path = f"/api/companies/{uuid4()}"

    async def conversation(self) -> str:
        created = await self.client.ok("POST", f"{self.path}/conversations", {})
        return f"/api/conversations/{created['id']}"

    async def say(self, conversation: str, content: str) -> str:
        said = await self.client.ok("POST", f"{conversation}/messages", {"role": "user", "content": content})
        return str(said["id"])


def sleep(connection: Connection, *_: Any, **__: Any) -> Any:
    connection.execute(text("SELECT pg_sleep(60)"))


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heavy calls take a minute."""
    monkeypatch.setattr(search_service, "find_hits", sleep)
    for name in ("branch", "rewind", "restore"):
        monkeypatch.setattr(conversation_service, name, sleep)
    monkeypatch.setattr(erase, "erase_message", sleep)
    monkeypatch.setattr(erase, "ROWS_A_STATEMENT", 0)  # each conversation with a message is long
    monkeypatch.setattr(export, "next_batch", sleep)
    original = conversations.list_page

    def list_page(connection: Connection, *, title_contains: str | None = None, **criteria: Any) -> Any:
        return original(connection, **criteria) if title_contains is None else sleep(connection)

    monkeypatch.setattr(conversations, "list_page", list_page)


async def heavy_requests(company: Company) -> list[tuple[str, str, Any]]:
    conversation = await company.conversation()
    said = await company.say(conversation, "fox")
    return [
        ("GET", f"{company.path}/search?q=fox", None),
        ("GET", f"{company.path}/conversations?q=fox", None),
        ("GET", f"{conversation}/export", None),
        ("POST", f"{conversation}/branch", {"messageId": said}),
        ("POST", f"{conversation}/messages/{said}/rewind", None),
        ("POST", f"{conversation}/messages/{said}/restore", None),
        ("DELETE", f"{conversation}/messages/{said}", None),
    ]


HEAVY = ["search", "list by title", "export", "branch", "rewind", "restore", "erase"]
# Who erases and leaves wants it gone all the same.
CANCELLED = HEAVY[:-1]


def sleeping(url: str) -> int:
    """How many statements sleep in the database."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'active' AND query ~ '[p]g_sleep'"
        ).fetchone()
    assert row is not None
    return int(row[0])


@asynccontextmanager
async def asked(client: Served, method: str, path: str, body: Any = None, count: int = 1) -> AsyncIterator[list[Any]]:
    """Clients that have sent the same request, and wait."""
    connections = [await client.connect() for _ in range(count)]
    before = len(client.app.requests)
    for connection in connections:
        await connection.send(method, path, body)
    await eventually(lambda: len(client.app.requests) == before + count)
    yield connections


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("number", range(len(CANCELLED)), ids=CANCELLED)
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_statement_ends_when_the_client_leaves(
    database_url: str, number: int, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(database_url) as client:
        method, path, body = (await heavy_requests(Company(client)))[number]
        async with asked(client, method, path, body, count=5) as connections:
            await eventually(lambda: sleeping(database_url) > 0)
            for connection in connections:
                getattr(connection, way)()
            await eventually(lambda: len(client.app.requests) == 0)
            await eventually(lambda: sleeping(database_url) == 0)
        assert [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"] == []


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("number", range(len(HEAVY)), ids=HEAVY)
async def test_heavy_requests_hold_up_no_others(database_url: str, number: int) -> None:
    async with serving(database_url) as client:
        company = Company(client)
        method, path, body = (await heavy_requests(company))[number]
        async with asked(client, method, path, body, count=24):
            await eventually(lambda: sleeping(database_url) > 0)
            async with asyncio.timeout(PATIENCE_SECONDS):
                conversation = await company.conversation()
                await company.say(conversation, "hello")
                assert len((await client.ok("GET", f"{conversation}/messages"))["items"]) == 1
                assert len((await client.ok("GET", f"{company.path}/conversations"))["items"]) == 2
                stream = await client.stream(conversation.rpartition("/")[2])
                assert (await stream.rest())[-1]["type"] == "done"


async def test_search_of_another_company_has_its_turn(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(database_url) as client:
        busy, quiet = Company(client), Company(client)
        await quiet.say(await quiet.conversation(), "fox")
        original = search_service.find_hits

        def find_hits(connection: Connection, *, company_id: Any, **query: Any) -> Any:
            if str(company_id) in busy.path:
                sleep(connection)
            return original(connection, company_id=company_id, **query)

        monkeypatch.setattr(search_service, "find_hits", find_hits)
        async with asked(client, "GET", f"{busy.path}/search?q=fox", count=24):
            await eventually(lambda: sleeping(database_url) == 2)
            for _ in range(3):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    assert len((await client.ok("GET", f"{quiet.path}/search?q=fox"))["items"]) == 1
        await eventually(lambda: sleeping(database_url) == 2)


@pytest.mark.usefixtures("endless")
async def test_request_past_the_bound_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_WAITING_OF_COMPANY", 3)
    async with serving(database_url) as client:
        company = Company(client)
        requests = await heavy_requests(company)
        async with asked(client, "GET", f"{company.path}/search?q=fox", count=5):
            await eventually(lambda: sleeping(database_url) == 2)
            for method, path, body in requests:
                response = await client.request(method, path, body)
                assert response.error == (503, "Too many long requests are waiting"), path
                assert response.headers["Retry-After"] == "5"


def say_much(url: str, company: str, messages: int = 40, chars: int = 100_000) -> None:
    """A conversation with long messages of many different words, each with a `fox` at its end."""
    chosen = random.Random(1)
    with psycopg.connect(url) as connection:
        conversation = uuid4()
        connection.execute(
            "INSERT INTO chat_conversations (id, company_id, title, created_at, updated_at) VALUES"
            " (%s, %s, 'long', now(), now())",
            [conversation, company],
        )
        for position in range(1, messages + 1):
            words = " ".join(f"w{chosen.randrange(3_000)}" for _ in range(chars // 6))
            connection.execute(
                "INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position)"
                " VALUES (%s, %s, 'user', %s, now(), %s)",
                [uuid4(), conversation, f"{words[: chars - 4]} fox", position],
            )


async def test_searches_of_long_texts_leave_the_loop_to_others(database_url: str) -> None:
    """They took the one lock of Python: 24 of them stopped everybody for more than a minute."""
    async with serving(database_url) as client:
        company = Company(client)
        say_much(database_url, company.path.rpartition("/")[2])
        other = Company(client)
        async with asked(client, "GET", f"{company.path}/search?q=fox&limit=100", count=24) as connections:
            longest = 0.0
            for _ in range(20):
                begun = time.monotonic()
                await client.ok("GET", f"{other.path}/conversations")
                longest = max(longest, time.monotonic() - begun)
            for connection in connections:
                connection.close()
            begun = time.monotonic()
            await eventually(lambda: len(client.app.requests) == 0)
            assert len((await client.ok("GET", f"{company.path}/search?q=fox&limit=3"))["items"]) == 3
            assert time.monotonic() - begun < 10
        assert longest < 5


def tell_shares(monkeypatch: pytest.MonkeyPatch, seen: list[tuple[str, Share | None]]) -> None:
    """Have the calls of a list, of one resource and of a run tell in whose share they are made."""

    def telling(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def told(*args: Any, **kwargs: Any) -> Any:
            seen.append((name, share.get()))
            return call(*args, **kwargs)

        return told

    for module, name in ((conversations, "list_page"), (conversations, "find"), (answer_store, "read_before")):
        monkeypatch.setattr(module, name, telling(name, getattr(module, name)))


@pytest.mark.parametrize("signed_in", ["nobody", "a member", "an administrator"])
async def test_calls_are_made_in_the_share_of_who_is_signed_in(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch, signed_in: str
) -> None:
    seen: list[tuple[str, Share | None]] = []
    tell_shares(monkeypatch, seen)
    auth = "local_trusted" if signed_in == "nobody" else "authenticated"
    async with ModelServer() as model, serving(module_database_url, auth=auth, **model.settings) as client:
        company = Company(client)
        company_id = UUID(company.path.rpartition("/")[2])
        if signed_in != "nobody":
            whose = company_id if signed_in == "a member" else None
            client.headers = make_token(module_database_url, whose, name="Ann").bearer
        conversation = await company.conversation()
        await client.ok("GET", f"{company.path}/conversations")
        await client.ok("GET", conversation)
        await company.say(conversation, "hello")
        stream = await client.stream(conversation.rpartition("/")[2])
        call = await model.call()
        await call.send("hi")
        await call.finish()
        assert (await stream.rest())[-1]["type"] == "done"
    of_company, of_one = {
        "nobody": (None, None),
        "a member": (company_id, company_id),
        "an administrator": (company_id, "Ann"),
    }[signed_in]
    assert seen == [("list_page", of_company), ("find", of_one), ("read_before", of_company)]


async def test_one_company_never_holds_up_the_short_calls_of_another(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    original = conversations.list_page

    async with serving(module_database_url, auth="authenticated") as client:
        busy, other = Company(client), Company(client)
        of_busy, of_other = (
            make_token(module_database_url, each.path.rpartition("/")[2]).bearer for each in (busy, other)
        )
        client.headers = of_busy
        conversation = await busy.conversation()

        def list_page(connection: Connection, *, company_id: UUID, **criteria: Any) -> Any:
            assert str(company_id) in other.path or held.wait(PATIENCE_SECONDS)
            return original(connection, company_id=company_id, **criteria)

        monkeypatch.setattr(conversations, "list_page", list_page)
        try:
            flood = [asyncio.create_task(client.request("GET", f"{busy.path}/conversations")) for _ in range(60)]
            await eventually(lambda: client.app.database.waiting_calls > 50)
            # All its threads are held, and more than fifty calls wait for one.
            for _ in range(3):
                answer = await client.request("GET", f"{other.path}/conversations", headers=of_other)
                assert answer.json["items"] == []
            assert not any(task.done() for task in flood)
        finally:
            held.set()
        assert {(await task).json["items"][0]["id"] for task in flood} == {conversation.rpartition("/")[2]}
