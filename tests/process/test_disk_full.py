"""PostgreSQL's disk is full: requests get 503, nothing acknowledged is lost, and all goes on when there is room."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from chatserver.services.database_watch import LOOK_SECONDS
from chatserver.services.health import ANSWER_SECONDS
from chatserver.storage.postgres.socket_folder import socket_folder, url_of
from tests.kit.event_stream import EventStream, text_of
from tests.kit.http_client import Client
from tests.kit.model_server import Call, ModelServer
from tests.kit.own_postgres import answers, own_postgres
from tests.kit.server_process import ServerProcess, started
from tests.kit.small_disk import SmallDisk, small_disk
from tests.kit.talking import Talk, talking
from tests.kit.waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.root

NO_SPACE = "No space left on device"
# For all that the machine itself needs, however busy it is.
MACHINE_SECONDS = 6.0
RETURN_SECONDS = 2.0
TALKERS = 3
# Of each kind of warning 10 a second are told, and of refused requests 4.
LINES_PER_SECOND = 30


class Shown:
    """An answer that readers follow at all servers while it is generated."""

    def __init__(self, conversation: str, call: Call, streams: list[EventStream]) -> None:
        self.conversation = conversation
        self._call = call
        self._streams = streams

    async def goes_on(self, piece: str) -> None:
        """The model says a piece, which the reader at its own server gets, whether the database is there or not."""
        await self._call.send(piece)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await self._streams[0].event())["content"] == piece

    async def finish(self) -> None:
        await self._call.finish()

    async def is_pinged(self) -> None:
        """Wait until each reader has got two pings more."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            for stream in self._streams:
                for _ in range(2):
                    assert await stream.comment() == "ping"

    async def ends(self, text: str) -> None:
        """Each reader gets the whole text, and the same end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            wholes = [await stream.rest() for stream in self._streams]
        assert [(text_of(whole), whole[-1]["type"]) for whole in wholes] == [(text, "done")] * len(wholes)
        assert len({whole[-1]["messageId"] for whole in wholes}) == 1


async def shown(model: ModelServer, servers: list[ServerProcess], piece: str) -> Shown:
    """An answer of which each reader has got its first piece."""
    conversation = await servers[0].conversation()
    question = await servers[0].say(conversation, "x")
    first = await servers[0].stream(conversation, question)
    call = await model.call()
    streams = [first, *[await server.stream(conversation, question) for server in servers[1:]]]
    await call.send(piece)
    for stream in streams:
        assert (await stream.event())["content"] == piece
    return Shown(conversation, call, streams)


@asynccontextmanager
async def serving(*arguments: str, logs: list[Path], **environment: str) -> AsyncIterator[list[ServerProcess]]:
    """A server for each log."""
    async with AsyncExitStack() as stack:
        servers = [started(*arguments, log=log, CHATSERVER_PING_SECONDS="0.3", **environment) for log in logs]
        yield [await stack.enter_async_context(server) for server in servers]


async def is_ready(server: Client) -> bool:
    async with asyncio.timeout(ANSWER_SECONDS + MACHINE_SECONDS):
        return (await server.request("GET", "/readyz")).status == 200


async def are_ready(servers: list[ServerProcess]) -> bool:
    return all([await is_ready(server) for server in servers])


async def are_away(servers: list[ServerProcess]) -> bool:
    assert [(await server.request("GET", "/healthz")).status for server in servers] == [200] * len(servers)
    return not any([await is_ready(server) for server in servers])


async def is_back(url: str, servers: list[ServerProcess], talk: Talk, within_seconds: float) -> None:
    """Wait until the database answers; requests are then served again in time."""
    await eventually(lambda: asyncio.to_thread(answers, url), within_seconds=within_seconds)
    async with asyncio.timeout(RETURN_SECONDS + MACHINE_SECONDS):
        before = len(talk.acknowledged)
        await eventually(lambda: len(talk.acknowledged) > before + 10)
        await eventually(lambda: are_ready(servers))


async def has_lost_nothing(url: str, server: Client, talk: Talk, answer: Shown, model: ModelServer) -> None:
    """All that was acknowledged is stored, nothing twice, and nothing is left behind."""
    assert set(talk.refused) == {503}
    assert talk.slowest_seconds < PATIENCE_SECONDS / 2
    contents = await talk.stored(server)
    assert set(talk.acknowledged) <= set(contents)
    assert len(contents) == len(set(contents))
    assert [message["role"] for message in await server.messages(answer.conversation)] == ["user", "assistant"]
    assert model.calls == 1
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT DISTINCT status FROM chat_runs").fetchall() == [("completed",)]
        assert connection.execute("SELECT count(*) FROM chat_frames").fetchone() == (0,)


def is_calm(log: Path, seconds: float) -> None:
    """Nothing unforeseen is in a server's log, and no flood."""
    text = log.read_text()
    assert "Traceback" not in text
    outage = [line for line in text.splitlines() if '"level": "info"' not in line]
    assert len(outage) < LINES_PER_SECOND * (seconds + 5)


def keep_wal(url: str) -> None:
    """Have PostgreSQL keep all of its log for a standby that does not come."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('gone', true)")


def use_up_wal(url: str) -> None:
    """Have PostgreSQL begin one file of its log after another, until there is no room for one."""
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
        for _ in range(100):
            connection.execute("SELECT pg_switch_wal(), pg_current_xact_id()")


async def fill(disk: SmallDisk, servers: list[ServerProcess]) -> None:
    """Fill the disk until the database is away."""

    async def filled() -> bool:
        disk.fill()  # PostgreSQL may have removed files meanwhile
        return await are_away(servers)

    await eventually(filled)


@pytest.mark.parametrize("more_bytes", [4_000, 20_000], ids=["batched", "alone"])
async def test_database_whose_wal_disk_is_full_loses_nothing(tmp_path: Path, more_bytes: int) -> None:
    """PostgreSQL panics, and cannot recover before there is room; its server manager tries again and again."""
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with small_disk(tmp_path / "disk", 32) as disk:
        wal = ["--waldir", str(disk.folder / "wal"), "--wal-segsize=1"]
        with own_postgres(tmp_path / "data", {}, *wal) as database:
            keep_wal(database.url)
            async with (
                ModelServer() as model,
                serving("--database-url", database.url, logs=logs, **model.environment) as servers,
            ):
                answer = await shown(model, servers, "a ")
                async with talking([*servers, *servers], more_bytes=more_bytes) as talk:
                    await eventually(lambda: len(talk.acknowledged) > 20)
                    await fill(disk, servers)
                    began = asyncio.get_running_loop().time()
                    await answer.goes_on("b")
                    await answer.finish()
                    await answer.is_pinged()
                    assert await are_away(servers)
                    disk.free()
                    await is_back(database.url, servers, talk, PATIENCE_SECONDS)
                    seconds = asyncio.get_running_loop().time() - began
                await answer.ends("a b")
                await has_lost_nothing(database.url, servers[1], talk, answer, model)
        told = database.log.read_text()
        assert "PANIC" in told and "shutting down due to startup process failure" in told
    for log in logs:
        is_calm(log, seconds)


async def test_embedded_database_whose_disk_is_full_loses_nothing(tmp_path: Path) -> None:
    """It is started again when there is room, without anybody's doing."""
    log = tmp_path / "one.log"
    with small_disk(tmp_path / "disk", 150) as disk:
        data_dir = disk.folder / "data"
        async with (
            ModelServer() as model,
            serving("--data-dir", str(data_dir), logs=[log], **model.environment) as servers,
        ):
            url = url_of(socket_folder(data_dir / "postgres"))
            answer = await shown(model, servers, "a ")
            async with talking(servers * TALKERS) as talk:
                await eventually(lambda: len(talk.acknowledged) > 20)
                disk.fill()
                await asyncio.to_thread(use_up_wal, url)
                await fill(disk, servers)
                began = asyncio.get_running_loop().time()
                await answer.goes_on("b")
                await answer.finish()
                await answer.is_pinged()
                assert await are_away(servers)
                await eventually(lambda: "does not start: could not write" in log.read_text())
                disk.free()
                await is_back(url, servers, talk, LOOK_SECONDS + RETURN_SECONDS + MACHINE_SECONDS)
                seconds = asyncio.get_running_loop().time() - began
            await answer.ends("a b")
            await has_lost_nothing(url, servers[0], talk, answer, model)
        assert "PANIC" in (data_dir / "postgres" / "server.log").read_text()
    is_calm(log, seconds)
    assert NO_SPACE in log.read_text()


async def test_full_disk_of_data_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    """PostgreSQL goes on: what is there can be read."""
    log = tmp_path / "one.log"
    with small_disk(tmp_path / "disk", 64) as disk:
        wal = ["--waldir", str(tmp_path / "wal")]
        with own_postgres(disk.folder / "data", {}, *wal) as database:
            async with (
                ModelServer() as model,
                serving("--database-url", database.url, logs=[log], **model.environment) as servers,
            ):
                (server,) = servers
                answer = await shown(model, servers, "a ")
                async with talking(servers * TALKERS, more_bytes=4_000) as talk:
                    await eventually(lambda: len(talk.acknowledged) > 20)
                    disk.fill()
                    await eventually(lambda: len(talk.refused) > 20)
                    began = asyncio.get_running_loop().time()
                    assert await talk.stored(server)
                    assert await is_ready(server)
                    piece = secrets.token_hex(3_000)  # no page in use has room for it
                    await answer.goes_on(piece)
                    await answer.finish()
                    await answer.is_pinged()
                    disk.free()
                    await is_back(database.url, servers, talk, PATIENCE_SECONDS)
                    seconds = asyncio.get_running_loop().time() - began
                await answer.ends("a " + piece)
                await has_lost_nothing(database.url, server, talk, answer, model)
        assert "PANIC" not in (disk.folder / "postgres.log").read_text()
    is_calm(log, seconds)
    assert NO_SPACE in log.read_text()
