"""Plain requests and SIGTERM: a request that has arrived gets its response."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg

from tests.kit.http_connection import Connection
from tests.kit.server_process import ServerProcess, accepts, started
from tests.kit.waiting import PATIENCE_SECONDS, eventually


@contextmanager
def locked(url: str, conversation: str) -> Iterator[psycopg.Connection]:
    """Within this context, nobody else can change the conversation."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT FROM chat_conversations WHERE id = %s FOR UPDATE", [conversation])
        yield connection


@asynccontextmanager
async def held_request(server: ServerProcess, url: str, conversation: str) -> AsyncIterator[Connection]:
    """A request that a lock in the database holds up until the end of the context."""
    with locked(url, conversation), psycopg.connect(url, autocommit=True) as observer:
        connection = await server.connect()
        await connection.send("PATCH", f"/api/conversations/{conversation}", {"title": "Changed"})
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        await eventually(lambda: observer.execute(waiting).fetchone() == (1,))
        yield connection


async def refuses(server: ServerProcess) -> None:
    """Wait until the server takes no more connections."""
    await eventually(lambda: not accepts(server.port))


async def drains(server: ServerProcess, kept: Connection) -> None:
    """Wait until the server drains, and see that it still serves the connection that was `kept`."""
    await refuses(server)
    await kept.send("GET", "/readyz")
    status, headers = await kept.head()
    assert (status, headers["connection"]) == (503, "close")
    await kept.read(int(headers["content-length"]))
    kept.close()


async def test_request_in_progress_gets_its_response(database_url: str) -> None:
    async with started("--database-url", database_url, CHATSERVER_DRAIN_SECONDS="60") as server:
        conversation = await server.conversation()
        async with held_request(server, database_url, conversation) as connection:
            kept = await server.connect()
            server.terminate()
            await drains(server, kept)
        status, headers = await connection.head()
        assert (status, headers["connection"]) == (200, "close")
        body = await connection.reader.readexactly(int(headers["content-length"]))
        assert b'"title":"Changed"' in body
        assert (await server.ended())[0] == 0


async def test_response_to_a_slow_client_is_sent_to_its_end(database_url: str) -> None:
    async with started("--database-url", database_url, CHATSERVER_DRAIN_SECONDS="60") as server:
        conversation = await server.conversation()
        for _ in range(100):
            await server.say(conversation, "x" * 100_000)
        connection = await server.connect(receive_buffer=4_096)
        await connection.send("GET", f"/api/conversations/{conversation}/messages?limit=200")
        status, _ = await connection.head()
        assert status == 200
        kept = await server.connect()
        server.terminate()
        await drains(server, kept)
        body = b""
        while chunk := await connection.chunk():
            body += chunk
        assert body.endswith(b"}")
        assert (await server.ended())[0] == 0


async def test_endless_request_is_given_up_after_the_drain(database_url: str) -> None:
    setting = {"CHATSERVER_DRAIN_SECONDS": "0.2", "CHATSERVER_STATEMENT_TIMEOUT_SECONDS": "3"}
    async with started("--database-url", database_url, **setting) as server:
        conversation = await server.conversation()
        async with held_request(server, database_url, conversation) as connection:
            server.terminate()
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await connection.reader.read() == b""
            assert (await server.ended())[0] == 0


async def test_idle_connections_do_not_delay_the_stop(database_url: str) -> None:
    async with started("--database-url", database_url, CHATSERVER_DRAIN_SECONDS="60") as server:
        connection = await server.connect()
        await connection.send("GET", "/healthz")
        status, headers = await connection.head()
        assert (status, headers.get("connection")) == (200, None)
        await server.connect()
        begun = time.monotonic()
        server.terminate()
        assert (await server.ended())[0] == 0
        assert time.monotonic() - begun < PATIENCE_SECONDS


async def test_pipelined_request_is_answered_or_not_carried_out(database_url: str) -> None:
    """Requests that wait in the server's own buffer are begun one by one: between two of them none is open."""
    async with started("--database-url", database_url) as server:
        conversation = await server.conversation()
        connection = await server.connect()
        for number in range(100):
            message = {"role": "user", "content": f"no. {number}"}
            await connection.send("POST", f"/api/conversations/{conversation}/messages", message)
        statuses = []
        for number in range(100):
            try:
                status, headers = await connection.head()
                await connection.reader.readexactly(int(headers["content-length"]))
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            statuses.append(status)
            if number == 5:
                server.terminate()
        assert server.process.stderr is not None
        log = (await server.process.stderr.read()).decode()
        assert (await server.ended())[0] == 0
        assert "Traceback" not in log
        with psycopg.connect(database_url) as database:
            stored = database.execute("SELECT count(*) FROM chat_messages").fetchone()
        assert stored == (statuses.count(201),)
        assert len(statuses) < 100
