"""A stop while the database is away, or hangs: it ends soon after the drain time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from chatserver.storage.postgres.migrate import ADVISORY_LOCK
from tests.conftest import with_database
from tests.kit.model_server import ModelServer
from tests.kit.outage import frozen, refusing
from tests.kit.process_table import gone
from tests.kit.server_process import ServerProcess, launch, started
from tests.kit.waiting import eventually

# Without a database a stop took a minute, or did not end.
ENDS_WITHIN_SECONDS = 20.0
SETTINGS = {"CHATSERVER_DRAIN_SECONDS": "0.5", "CHATSERVER_PING_SECONDS": "0.2"}


async def ends(server: ServerProcess) -> None:
    server.terminate()
    async with asyncio.timeout(ENDS_WITHIN_SECONDS):
        assert await server.ended() == (0, "")


async def request(server: ServerProcess, conversation: str) -> None:
    await server.request("GET", f"/api/conversations/{conversation}/messages")


async def test_answer_that_cannot_be_stored_does_not_delay_the_stop(postgres_url: str, database_url: str) -> None:
    async with (
        ModelServer() as model,
        started("--database-url", database_url, **model.environment, **SETTINGS) as server,
    ):
        conversation = await server.conversation()
        question = await server.say(conversation, "x")
        stream = await server.stream(conversation, question)
        call = await model.call()
        await call.send("an answer")
        await stream.event()
        with refusing(postgres_url, database_url):
            await call.finish()
            assert await stream.comment() == "ping"
            await ends(server)
        assert [event["type"] for event in await stream.rest()] == ["token"], "no error: its reader comes back"
        async with started("--database-url", database_url, **model.environment) as other:
            back = await other.stream(conversation, question, last_id=stream.last_id)
            call = await model.call()
            await call.send("whole")
            await call.finish()
            assert (await back.rest())[-1]["type"] == "done"


async def test_frozen_embedded_database_does_not_delay_the_stop(tmp_path: Path) -> None:
    async with (
        ModelServer() as model,
        started("--data-dir", str(tmp_path), **model.environment, **SETTINGS) as server,
    ):
        conversation = await server.conversation()
        await server.say(conversation, "x")
        stream = await server.stream(conversation)
        call = await model.call()
        await call.send("an answer")
        await stream.event()
        with frozen(tmp_path):
            await call.finish()
            assert await stream.comment() == "ping"
            hanging = [asyncio.ensure_future(request(server, conversation)) for _ in range(20)]
            await asyncio.wait(hanging, timeout=0.5)
            await ends(server)
            await asyncio.gather(*hanging, return_exceptions=True)
    await gone(tmp_path)


async def test_table_that_is_locked_at_the_start_does_not_delay_the_stop(database_url: str) -> None:
    settings = {**SETTINGS, "CHATSERVER_AUTH": "authenticated", "CHATSERVER_STATEMENT_TIMEOUT_SECONDS": "600"}
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE api_tokens")
        async with started("--database-url", database_url, **settings) as server:
            waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'api_tokens'::regclass AND NOT granted)"
            await eventually(lambda: other.execute(waits).fetchone() == (True,))
            await ends(server)


async def test_restart_of_a_frozen_database_is_given_up(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with started("--data-dir", str(tmp_path / "data"), log=log, **SETTINGS) as server:
        with frozen(tmp_path / "data"):
            await eventually(lambda: "starting it" in log.read_text())
            await ends(server)
    await gone(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_start_that_waits_for_the_database_is_given_up(postgres_url: str, number: signal.Signals) -> None:
    """Another process migrates the database, and takes its time."""
    with empty_database(postgres_url) as url, psycopg.connect(url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        process = await launch("--database-url", url)
        try:
            await eventually(lambda: waits_for_lock(postgres_url))
            process.send_signal(number)
            async with asyncio.timeout(ENDS_WITHIN_SECONDS):
                output, _ = await process.communicate()
            assert (process.returncode, output) == (0, b"")
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


@contextmanager
def empty_database(postgres_url: str) -> Iterator[str]:
    name = f"empty_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield with_database(postgres_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def waits_for_lock(postgres_url: str) -> bool:
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone()
    return row is not None
