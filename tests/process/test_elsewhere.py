"""Readers at a server that does not generate the answer: each token, whatever is cut, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg

from tests.kit.event_stream import EventSource, Viewer
from tests.kit.http_client import stream_path
from tests.kit.http_connection import Connection, dechunk
from tests.kit.model_server import ModelServer
from tests.kit.server_process import ServerProcess, started

PIECES = ["Once ", "é😀 ", '"upon"\n', "\\ a ", "time "]
REST = ["there ", "was ", "an end."]
# Connections at once, and how many bytes lie between two cuts.
AT_ONCE, STEP = 50, 5


@dataclass
class Pair:
    """Two servers on one database, and the model that they ask."""

    model: ModelServer
    one: ServerProcess
    two: ServerProcess
    database_url: str

    def frames(self) -> int:
        """How many rows there are for readers at other servers."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute("SELECT count(*) FROM chat_frames").fetchone()
            assert row is not None
            return int(row[0])


@asynccontextmanager
async def pair(database_url: str, **environment: str) -> AsyncIterator[Pair]:
    async with (
        ModelServer() as model,
        started("--database-url", database_url, **model.environment, **environment) as one,
        started("--database-url", database_url, **model.environment, **environment) as two,
    ):
        yield Pair(model, one, two, database_url)


async def test_each_token_is_seen_at_another_server_and_no_text_is_left(database_url: str) -> None:
    async with pair(database_url) as servers:
        conversation = await servers.one.conversation()
        question = await servers.one.say(conversation, "x")
        stream = await servers.one.stream(conversation, question)
        call = await servers.model.call()
        await call.send("alone")
        assert (await stream.event())["content"] == "alone"
        assert servers.frames() == 0
        joined = await servers.two.stream(conversation, question)
        seen = [(await joined.event())["content"]]
        for piece in PIECES:
            await call.send(piece)
            assert (await stream.event())["content"] == piece
            seen.append((await joined.event())["content"])
            assert joined.last_id == stream.last_id
        assert seen == ["alone", *PIECES]
        assert servers.frames() > 0
        await call.finish()
        assert (await joined.rest())[-1] == (await stream.rest())[-1]
        assert servers.frames() == 0

        second = await servers.one.say(conversation, "y")
        stream, joined = [await each.stream(conversation, second) for each in (servers.one, servers.two)]
        call = await servers.model.call()
        await call.send("dropped")
        await joined.event()
        assert servers.frames() == 1
        assert await servers.two.ok("POST", f"/api/conversations/{conversation}/stop") == {"stopped": True}
        assert (await joined.rest())[-1] == (await stream.rest())[-1] == {"type": "stopped", "messageId": None}
        assert servers.frames() == 0


async def test_clients_that_are_cut_at_any_byte_go_on_at_any_server(database_url: str) -> None:
    async with pair(database_url) as servers:
        conversation = await servers.one.conversation()
        question = await servers.one.say(conversation, "x")
        stream = await servers.one.stream(conversation, question)
        call = await servers.model.call()
        for piece in PIECES:
            await call.send(piece)
            await stream.event()
        followed = await servers.two.stream(conversation, question)
        while followed.last_id != stream.last_id:
            await followed.event()
        path = stream_path(conversation, question)
        lengths = {server: await bytes_of_stream(server, path) for server in (servers.one, servers.two)}
        turns = asyncio.Semaphore(AT_ONCE)
        whole = "".join([*PIECES, *REST])
        ready, ended = asyncio.Barrier(2 * 2 + 1), []

        async def cut_everywhere(first: ServerProcess, second: ServerProcess) -> None:
            cut = [await cut_client(first, path, size, turns) for size in range(0, lengths[first], STEP)]
            connections = [await follow(second, path, viewer) for viewer in cut]
            await ready.wait()
            for viewer, connection in zip(cut, connections, strict=True):
                viewer.see(dechunk(await connection.read()))
                assert (viewer.text, viewer.resets, len(viewer.ends)) == (whole, 0, 1)
                connection.close()
                ended.append(viewer)

        async with asyncio.TaskGroup() as group:
            for first in lengths:
                for second in lengths:
                    group.create_task(cut_everywhere(first, second))
            await ready.wait()
            for piece in REST:
                await call.send(piece)
            await call.finish()
        assert len(ended) == 2 * sum(len(range(0, length, STEP)) for length in lengths.values())
        assert servers.model.calls == 1


async def bytes_of_stream(server: ServerProcess, path: str) -> int:
    """How many bytes of the body there are by now."""
    stream = await server.open(path)
    while "".join(event["content"] for event in stream.events) != "".join(PIECES):
        await stream.event()
    stream.leave()
    return sum(len(b"%x" % len(chunk)) + len(chunk) + 4 for chunk in stream.chunks)


async def cut_client(server: ServerProcess, path: str, size: int, turns: asyncio.Semaphore) -> Viewer:
    """What a client saw that got so many bytes of the body."""
    async with turns:
        connection = await Connection.open(server.port)
        await connection.send("GET", path)
        await connection.head()
        raw = await connection.read(size)
        connection.reset()
    viewer = Viewer()
    viewer.see(dechunk(raw))
    return viewer


async def follow(server: ServerProcess, path: str, viewer: Viewer) -> Connection:
    """A connection on which the client goes on, as an EventSource does."""
    connection = await Connection.open(server.port)
    headers = {"Connection": "close"}
    if viewer.source.last_event_id:
        headers["Last-Event-ID"] = viewer.source.last_event_id
    await connection.send("GET", path, headers=headers)
    status, _ = await connection.head()
    assert status == 200
    viewer.source = EventSource(viewer.source.last_event_id)
    return connection
