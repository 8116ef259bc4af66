"""Exports: complete files, or connections that end in a way that nobody takes for complete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
import pytest

from chatserver.errors import DatabaseUnavailableError
from chatserver.schemas import ConversationExport
from chatserver.services.access import Actor, Role, local_actor
from chatserver.services.export_formats import Format
from chatserver.storage import export
from chatserver.web.http.long_request_handler import PIECE_BYTES
from tests.conftest import with_database
from tests.kit.http_connection import Connection, dechunk
from tests.kit.served_app import Served, serving
from tests.kit.waiting import PATIENCE_SECONDS
from tests.web.conftest import Api

# More than sockets and batches hold, so that a client that stops reading stops the export.
MANY, LONG = 3_000, 8_000


def say_much(url: str, conversation: str, *, messages: int = MANY, chars: int = LONG) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # none of it has to be found
        connection.execute(
            "INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position)"
            " SELECT gen_random_uuid(), %(id)s, 'user', n || repeat('x', %(chars)s), now(), n"
            " FROM generate_series(1, %(messages)s) AS n",
            {"id": conversation, "messages": messages, "chars": chars},
        )
        connection.execute("UPDATE chat_conversations SET last_position = %s WHERE id = %s", [messages, conversation])


# --- complete files ---------------------------------------------------------------------------------------


async def test_markdown_is_the_default(api: Api) -> None:
    conversation = await api.conversation(title="Größe / Plan")
    await api.say(conversation, "What is it?")
    for path in (f"{conversation}/export", f"{conversation}/export?format=markdown"):
        answer = await api.get(path)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
        assert answer.headers["Content-Disposition"] == (
            "attachment; filename=\"Groe Plan.md\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20Plan.md"
        )
        assert answer.headers["Cache-Control"] == "no-store"
        text = answer.body.decode()
        assert text.startswith("# Größe / Plan\n")
        assert text.endswith("\n\nWhat is it?\n")


async def test_json_has_all_fields_of_the_api(api: Api) -> None:
    conversation = await api.conversation(title="Plans")
    agent = (await api.post(api.agents, {"name": "Guide", "adapterType": "echo"})).json
    first = await api.say(conversation, "one")
    await api.put(f"{conversation}/messages/{first['id']}", {"content": 'one "edited"\n'})
    await api.say(conversation, "two", "assistant", agentId=agent["id"])
    await api.say(conversation, "nobody's", "assistant", agentId=str(uuid4()))
    await api.post(f"{conversation}/messages/{first['id']}/rewind")
    await api.delete(f"/api/agents/{agent['id']}")
    answer = await api.get(f"{conversation}/export?format=json")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="Plans.json"'
    document = answer.json
    names = [message.pop("agentName") for message in document["messages"]]
    assert names == [None, "Guide", None]
    everything = (await api.get(f"{conversation}/messages?superseded=include")).json["items"]
    assert document["messages"] == everything
    assert [message["supersededAt"] is None for message in everything] == [True, False, False]
    assert document["conversation"] == (await api.get(conversation)).json
    ConversationExport.model_validate_json(answer.body, by_alias=True, by_name=False)


async def test_conversation_without_messages_is_exported(api: Api) -> None:
    conversation = await api.conversation()
    assert (await api.get(f"{conversation}/export?format=json")).json["messages"] == []
    answer = await api.get(f"{conversation}/export")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="conversation.md"'
    assert answer.body.startswith(b"# Conversation\n")


async def test_long_conversation_is_complete_and_in_order(api: Api, module_database_url: str) -> None:
    conversation = await api.conversation()
    say_much(module_database_url, conversation.rpartition("/")[2], messages=2 * export.BATCH_ROWS + 1, chars=3)
    document = (await api.get(f"{conversation}/export?format=json")).json
    contents = [message["content"] for message in document["messages"]]
    assert contents == [f"{number}xxx" for number in range(1, 2 * export.BATCH_ROWS + 2)]


async def test_head_returns_only_the_headers(api: Api) -> None:
    conversation = await api.conversation(title="Plans")
    await api.say(conversation, "one")
    answer = await api.request("HEAD", f"{conversation}/export")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="Plans.md"'
    assert "Content-Length" not in answer.headers


@pytest.mark.parametrize("query", ["format=", "format=xml", "format=json&format=json"])
async def test_unknown_format_is_refused(api: Api, query: str) -> None:
    assert (await api.get(f"{await api.conversation()}/export?{query}")).wrong == ["format"]


async def test_unknown_or_deleted_conversation_is_not_found(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = await api.conversation()
    for path in (f"/api/conversations/{uuid4()}", conversation):
        if path == conversation:
            await api.delete(conversation)
        answer = await api.get(f"{path}/export")
        assert answer.error == (404, "Conversation not found")
        assert "Content-Disposition" not in answer.headers
    assert (await api.get("/api/conversations/x/export")).error == (400, "Malformed id")
    await api.post(f"{conversation}/restore")

    async def authenticate(*_: object) -> Actor:
        return Actor("somebody", {uuid4(): Role.MANAGER})

    monkeypatch.setattr("chatserver.services.access.LocalTrusted.authenticate", authenticate)
    assert (await api.get(f"{conversation}/export")).status == 404


async def test_unavailable_database_is_reported_before_the_first_byte(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await api.conversation()

    def next_batch(*_: Any, **__: Any) -> Any:
        raise DatabaseUnavailableError

    monkeypatch.setattr(export, "next_batch", next_batch)
    answer = await api.get(f"{conversation}/export")
    assert answer.error == (503, "The database is not available")
    assert "Content-Disposition" not in answer.headers


@pytest.mark.parametrize("format_name", ["markdown", "json"])
async def test_pieces_are_bounded(database_url: str, format_name: Format) -> None:
    async with serving(database_url) as served:
        conversation = await served.conversation()
        say_much(database_url, conversation, messages=500)
        opened = await served.app.context.export.open_export(local_actor(), UUID(conversation), format_name)
        sizes = [len(chunk) async for chunk in opened.chunks()]
    assert sum(sizes) > 500 * LONG
    assert max(sizes) < export.BATCH_BYTES + 2 * LONG + 200 * 500


# --- files that are not complete --------------------------------------------------------------------------


@asynccontextmanager
async def half_read(
    url: str, *, version: str = "HTTP/1.1", **settings: Any
) -> AsyncIterator[tuple[Served, Connection]]:
    """An export whose client has seen its beginning and reads no further."""
    async with serving(url, **settings) as served:
        conversation = await served.conversation()
        say_much(url, conversation)
        connection = await served.connect(receive_buffer=4_096)
        await connection.send("GET", f"/api/conversations/{conversation}/export?format=json", version=version)
        status, _ = await connection.head()
        assert status == 200
        assert await connection.reader.read(100)
        assert len(served.app.streams) == 1
        yield served, connection


async def ended(served: Served) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await served.app.streams.wait_empty()


async def rest_of(connection: Connection) -> bytes:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await connection.reader.read()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where the batches began that were read."""
    begun: list[int] = []
    original: Callable[..., Any] = export.next_batch

    def next_batch(*args: Any, after: int, **kwargs: Any) -> Any:
        begun.append(after)
        return original(*args, after=after, **kwargs)

    monkeypatch.setattr(export, "next_batch", next_batch)
    return begun


async def test_work_ends_when_the_client_leaves(database_url: str, batches: list[int]) -> None:
    async with half_read(database_url) as (served, connection):
        connection.reset()
        await ended(served)
    assert 0 < len(batches) < MANY * LONG // export.BATCH_BYTES // 2


async def test_client_that_reads_nothing_is_cut_off(database_url: str, batches: list[int]) -> None:
    async with half_read(database_url, slow_reader_seconds=0.3) as (served, connection):
        await ended(served)
        assert served.app.metrics.slow_readers._value.get() == 1
        with pytest.raises(ConnectionError):
            await rest_of(connection)
    assert len(batches) < MANY * LONG // export.BATCH_BYTES // 2


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_lost_database_leaves_no_complete_file(database_url: str, postgres_url: str, version: str) -> None:
    name = urlsplit(database_url).path[1:]
    async with half_read(database_url, version=version) as (served, connection):
        with psycopg.connect(with_database(postgres_url, "postgres"), autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        # The client reads on, and finds that the connection ends before the file does.
        with pytest.raises(ConnectionResetError):
            await rest_of(connection)
        await ended(served)


async def test_export_is_cut_off_when_the_server_must_end(database_url: str) -> None:
    async with half_read(database_url) as (served, connection):
        served.app.streams.close()
        with pytest.raises(ConnectionResetError):
            await rest_of(connection)
        await ended(served)


async def test_export_is_refused_while_the_server_ends(database_url: str) -> None:
    async with serving(database_url) as served:
        conversation = await served.conversation()
        served.app.begin_drain()
        response = await served.request("GET", f"/api/conversations/{conversation}/export")
        assert response.status == 503
        assert int(response.headers["retry-after"]) >= 1


async def test_http_1_0_client_gets_the_complete_file(database_url: str) -> None:
    async with serving(database_url) as served:
        conversation = await served.conversation()
        say_much(database_url, conversation, messages=300)
        connection = await served.connect()
        await connection.send("GET", f"/api/conversations/{conversation}/export?format=json", version="HTTP/1.0")
        await connection.head()
        assert len(json.loads(await rest_of(connection))["messages"]) == 300


async def test_file_is_sent_in_small_pieces_and_ends_with_the_last_chunk(database_url: str) -> None:
    async with serving(database_url) as served:
        conversation = await served.conversation()
        say_much(database_url, conversation, messages=300)
        connection = await served.connect()
        await connection.send(
            "GET", f"/api/conversations/{conversation}/export?format=json", headers={"Connection": "close"}
        )
        await connection.head()
        raw = await rest_of(connection)
        assert raw.endswith(b"\r\n0\r\n\r\n")
        assert len(json.loads(dechunk(raw))["messages"]) == 300
        assert int(raw.split(b"\r\n", 1)[0], 16) <= PIECE_BYTES
