"""Processes that die, and a database that is away for longer than a lease."""

from __future__ import annotations

import asyncio

import psycopg

from tests.kit.event_stream import text_of
from tests.kit.fleet import LONG_QUESTION
from tests.kit.model_server import Call, ModelServer
from tests.kit.outage import refusing
from tests.kit.server_process import started
from tests.kit.waiting import eventually

LEASE_SECONDS = 3.0
SETTINGS = {"CHATSERVER_LEASE_SECONDS": str(LEASE_SECONDS), "CHATSERVER_PING_SECONDS": "0.5"}


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


async def test_runs_of_a_killed_process_end_when_nobody_asks_for_them(database_url: str) -> None:
    arguments = ("--database-url", database_url)
    async with started(*arguments, **SETTINGS), started(*arguments, **SETTINGS) as dying:
        for _ in range(3):
            conversation = await dying.conversation()
            stream = await dying.stream(conversation, await dying.say(conversation, LONG_QUESTION))
            assert (await stream.event())["type"] == "token"
            queued = await dying.stream(conversation, await dying.say(conversation, "y"), whenBusy="enqueue")
            await queued.opened()
        active = "SELECT count(*) FROM chat_runs WHERE status = 'active'"
        assert rows(database_url, active) == [(3,)]
        await dying.kill()
        await eventually(lambda: rows(database_url, active) == [(0,)])
        assert rows(database_url, "SELECT DISTINCT status FROM chat_runs") == [("dropped",)]


async def test_owner_commits_what_it_has_after_the_database_was_away_for_longer_than_its_lease(
    postgres_url: str, database_url: str
) -> None:
    arguments = ("--database-url", database_url)
    async with (
        ModelServer() as model,
        started(*arguments, **SETTINGS, **model.environment) as owner,
        started(*arguments, **SETTINGS, **model.environment) as other,
    ):
        calls: list[Call] = []
        streams = []
        for query in ({}, {"onDisconnect": "continue"}):
            conversation = await owner.conversation()
            question = await owner.say(conversation, "x")
            stream = await owner.stream(conversation, question, **query)
            calls.append(await model.call())
            await calls[-1].send("the whole ")
            assert (await stream.event())["type"] == "token"
            if query:
                stream.leave()
            else:
                streams += [stream, await other.stream(conversation, question)]
                await streams[-1].opened()
        with refusing(postgres_url, database_url):
            for call in calls:
                await call.send("answer")
                await call.finish()
            await asyncio.sleep(2 * LEASE_SECONDS)
        for stream in streams:
            events = await stream.rest()
            assert (text_of(events), events[-1]["type"]) == ("the whole answer", "done")
        runs = "SELECT DISTINCT status, epoch FROM chat_runs"
        await eventually(lambda: rows(database_url, runs) == [("completed", 1)])
        assert rows(database_url, "SELECT DISTINCT content FROM chat_messages WHERE role = 'assistant'") == [
            ("the whole answer",)
        ]
