"""A page of a list ends at about 8 MiB, and a client that does not read it costs little memory."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from chatserver.errors import DatabaseUnavailableError
from chatserver.storage import messages
from chatserver.web.http import large_lists
from chatserver.web.http.large_body_handler import SMALL_BODY_BYTES
from tests.kit.http_client import COMPANY, Client
from tests.kit.http_connection import Connection, dechunk
from tests.kit.served_app import serving
from tests.kit.waiting import eventually

MIB = 1 << 20
PAGE = 8 * MIB
LONG = 100_000


def say(url: str, conversation: str, number: int, content: str) -> None:
    """Add messages `1content`, `2content` …; none of them has to be found."""
    with psycopg.connect(url) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            "INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position)"
            " SELECT gen_random_uuid(), %s, 'user', n || %s::text, now(), n FROM generate_series(1, %s) AS n",
            [conversation, content, number],
        )
        connection.execute("UPDATE chat_conversations SET last_position = %s WHERE id = %s", [number, conversation])


async def pages_of(client: Client, path: str) -> list[tuple[int, list[Any]]]:
    """The bytes and the items of each page."""
    pages: list[tuple[int, list[Any]]] = []
    cursor = ""
    while True:
        response = await client.request("GET", f"{path}{cursor}")
        assert response.status == 200, response
        page = response.json
        assert set(page) == {"items", "hasMore", "nextCursor"}
        assert page["hasMore"] == (page["nextCursor"] is not None)
        pages.append((len(response.body), page["items"]))
        if not page["hasMore"]:
            return pages
        cursor = f"&cursor={page['nextCursor']}"


# --- every list is bounded --------------------------------------------------------------------------------


async def many_messages(url: str, client: Client) -> str:
    conversation = await client.conversation()
    say(url, conversation, 200, "x" * LONG)
    return f"/api/conversations/{conversation}/messages?limit=200"


async def many_edited_messages(url: str, client: Client) -> str:
    conversation = await client.conversation()
    say(url, conversation, 200, "x" * (LONG // 2))
    with psycopg.connect(url) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE chat_messages SET edited_content = content, edited_at = now()")
    return f"/api/conversations/{conversation}/messages?limit=200&order=desc"


async def many_bookmarks(url: str, client: Client) -> str:
    conversation = await client.conversation()
    say(url, conversation, 200, "x" * LONG)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO chat_bookmarks (message_id, company_id, created_at) SELECT id, %s, now() FROM chat_messages",
            [COMPANY],
        )
    return f"/api/companies/{COMPANY}/bookmarks?limit=100"


async def many_hits(url: str, client: Client) -> str:
    conversation = await client.conversation(title="t")
    say(url, conversation, 200, " fox " + "x" * LONG)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE chat_messages SET content = content")
    return f"/api/companies/{COMPANY}/search?q=fox&limit=100"


async def many_agents(url: str, client: Client) -> str:
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO agents (id, company_id, name, adapter_type, adapter_config, created_at, updated_at)"
            " SELECT gen_random_uuid(), %s, n::text, 'llm', jsonb_build_object('systemPrompt', repeat('x', %s)),"
            " now(), now() FROM generate_series(1, 200) AS n",
            [COMPANY, LONG],
        )
    return f"/api/companies/{COMPANY}/agents?limit=100"


@pytest.mark.parametrize("fill", [many_messages, many_edited_messages, many_bookmarks, many_hits, many_agents])
async def test_pages_end_at_about_8_mib_and_hold_every_item_once(database_url: str, fill: Any) -> None:
    async with serving(database_url) as client:
        pages = await pages_of(client, await fill(database_url, client))
    sizes = [size for size, _ in pages]
    assert max(sizes) < PAGE * 1.03
    assert min(sizes[:-1]) > PAGE * 0.9
    ids = [item.get("id") or item["message"]["id"] for _, items in pages for item in items]
    assert len(ids) == len(set(ids)) == 200


async def test_text_that_json_makes_longer_counts_as_it_is_written(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        say(database_url, conversation, 100, "\x01" * LONG)
        pages = await pages_of(client, f"/api/conversations/{conversation}/messages?limit=200")
    assert max(size for size, _ in pages) < PAGE + 6 * MIB
    assert sum(len(items) for _, items in pages) == 100


async def test_item_that_is_larger_than_a_page_is_a_page_of_its_own(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        say(database_url, conversation, 3, "🦊" * (5 * MIB // 2))
        pages = await pages_of(client, f"/api/conversations/{conversation}/messages?limit=200")
    assert [len(items) for _, items in pages] == [1, 1, 1]


async def test_limit_counts_for_the_page_as_a_whole(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        say(database_url, conversation, 30, "x" * LONG)
        path = f"/api/conversations/{conversation}/messages?limit=13"
        assert [len(items) for _, items in await pages_of(client, path)] == [13, 13, 4]
        (page,) = await pages_of(client, f"/api/conversations/{conversation}/messages?limit=30")
        assert [item["content"][:2] for item in page[1]][:10] == [f"{n}x"[:2] for n in range(1, 11)]


# --- how a large page is sent -----------------------------------------------------------------------------


async def unread(client: Client, path: str, **how: Any) -> Connection:
    """A client that has asked, and reads nothing but the head of the response."""
    connection = await client.connect(receive_buffer=4_096)
    await connection.send("GET", path, **how)
    status, _ = await connection.head()
    assert status == 200
    return connection


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Within this context: how many bytes of Python objects there are more than at its beginning."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


async def test_clients_that_read_nothing_cost_little_memory_and_hold_up_nobody(database_url: str) -> None:
    async with serving(database_url) as client:
        path = await many_messages(database_url, client)
        other = await client.conversation()
        with traced() as memory:
            for _ in range(40):
                await unread(client, path)
            await eventually(lambda: len(client.app.context.large_lists) == 40)
            await client.say(other, "hello")
            (first, *_) = await pages_of(client, path)
            assert len(first[1]) > 70
            assert memory() < 40 * 2 * MIB + 2 * PAGE


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_client_that_reads_nothing_is_cut_off(database_url: str, version: str) -> None:
    async with serving(database_url, slow_reader_seconds=0.3) as client:
        connection = await unread(client, await many_messages(database_url, client), version=version)
        await eventually(lambda: len(client.app.context.large_lists) == 0)
        assert client.app.metrics.slow_readers._value.get() == 1
        with pytest.raises(ConnectionResetError):
            await connection.read()


async def test_slow_client_that_reads_on_gets_the_whole_page(database_url: str) -> None:
    async with serving(database_url, slow_reader_seconds=1) as client:
        path = await many_messages(database_url, client)
        connection = await unread(client, path, headers={"Connection": "close"})
        raw = b""
        for _ in range(8):
            await asyncio.sleep(0.2)
            raw += await connection.read(PAGE // 20)
        raw += await connection.read()
        assert len(json.loads(dechunk(raw))["items"]) > 70


async def test_reading_ends_when_the_client_leaves(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    original: Callable[..., Any] = messages.list_page

    def list_page(*args: Any, **kwargs: Any) -> Any:
        nonlocal reads
        reads += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(messages, "list_page", list_page)
    async with serving(database_url) as client:
        conversation = await client.conversation()
        say(database_url, conversation, 200, "x" * 10)
        with psycopg.connect(database_url) as connection:
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute("UPDATE chat_messages SET content = repeat('x', 500000)")
        left = await unread(client, f"/api/conversations/{conversation}/messages?limit=200")
        left.reset()
        await eventually(lambda: len(client.app.requests) == 0)
        assert reads < 16


async def test_lost_database_leaves_no_complete_page(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original: Callable[..., Any] = messages.list_page

    def list_page(*args: Any, cursor: str | None, **kwargs: Any) -> Any:
        if cursor is not None:
            raise DatabaseUnavailableError
        return original(*args, cursor=cursor, **kwargs)

    monkeypatch.setattr(messages, "list_page", list_page)
    async with serving(database_url) as client:
        path = await many_messages(database_url, client)
        connection = await client.connect()
        await connection.send("GET", path)
        await connection.head()
        with pytest.raises(ConnectionResetError):
            await connection.read()


async def test_head_of_a_large_page_has_no_body(database_url: str) -> None:
    async with serving(database_url) as client:
        path = await many_messages(database_url, client)
        response = await client.request("HEAD", path)
        assert (response.status, response.body) == (200, b"")
        assert "Content-Length" not in response.headers


async def test_http_1_0_client_gets_the_whole_page(database_url: str) -> None:
    async with serving(database_url) as client:
        path = await many_messages(database_url, client)
        connection = await client.connect()
        await connection.send("GET", path, version="HTTP/1.0")
        await connection.head()
        assert len(json.loads(await connection.read())["items"]) > 70


async def test_connection_is_kept_after_a_large_page(database_url: str) -> None:
    async with serving(database_url) as client:
        path = await many_messages(database_url, client)
        connection = await client.connect()
        for _ in range(3):
            await connection.send("GET", path)
            status, _ = await connection.head()
            assert status == 200
            while await connection.chunk():
                pass


async def test_only_durations_that_do_not_depend_on_the_client_are_measured(database_url: str) -> None:
    async with serving(database_url) as client:

        def measured() -> float | None:
            labels = {"handler": "MessagesHandler"}
            return client.app.metrics.registry.get_sample_value("chatserver_request_seconds_count", labels)

        path = await many_messages(database_url, client)
        assert (await client.request("GET", path)).status == 200
        assert measured() is None
        assert (await client.request("GET", f"{path.partition('?')[0]}?limit=1")).status == 200
        await eventually(lambda: measured() == 1)


async def test_small_page_has_a_length(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        say(database_url, conversation, 2, "x" * LONG)
        response = await client.request("GET", f"/api/conversations/{conversation}/messages")
        assert int(response.headers["Content-Length"]) == len(response.body) < SMALL_BODY_BYTES


async def test_stalled_page_makes_room_for_another(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_lists, "STALLED_SECONDS", 0.0)
    async with serving(database_url) as client:
        path = await many_messages(database_url, client)
        client.app.context.large_lists._limit = 1
        stalled = await unread(client, path)
        assert len((await pages_of(client, path))[0][1]) > 70
        with pytest.raises(ConnectionResetError):
            await stalled.read()


async def test_page_without_room_is_refused(database_url: str) -> None:
    async with serving(database_url) as client:
        path = await many_messages(database_url, client)
        client.app.context.large_lists._limit = 0
        response = await client.request("GET", path)
        assert response.error == (503, "Too many long lists are being read")
        assert int(response.headers["Retry-After"]) >= 1
