"""The primary of a replicated PostgreSQL fails under load, and the standby takes its place."""

from __future__ import annotations

import asyncio

import psycopg

from tests.kit.event_stream import text_of
from tests.kit.http_client import Client
from tests.kit.model_server import ModelServer
from tests.kit.replicated import replicated
from tests.kit.server_process import started
from tests.kit.talking import talking
from tests.kit.waiting import eventually


async def test_standby_takes_over_under_load_and_nothing_acknowledged_is_lost() -> None:
    """An answer that was being generated goes on for its readers, at its process and at another one."""
    with replicated() as database:
        async with (
            ModelServer() as model,
            started("--database-url", database.url, **model.environment) as one,
            started("--database-url", database.url, **model.environment) as two,
        ):
            conversation = await one.conversation()
            question = await one.say(conversation, "x")
            stream = await one.stream(conversation, question)
            call = await model.call()
            joined = await two.stream(conversation, question)
            for piece in ("a ", "b "):
                await call.send(piece)
                assert (await stream.event())["content"] == (await joined.event())["content"] == piece

            async with talking([one, two]) as talk:
                await eventually(lambda: len(talk.acknowledged) > 20)
                await asyncio.to_thread(database.lose_primary)
                await call.send("c ")
                assert (await stream.event())["content"] == "c "
                await eventually(lambda: len(talk.refused) > 2)
                assert (await one.request("GET", "/readyz")).status == 503
                await asyncio.to_thread(database.promote)
                before = len(talk.acknowledged)
                await eventually(lambda: len(talk.acknowledged) > before + 20)
                await eventually(lambda: is_ready(one))

            await call.send("d")
            await call.finish()
            whole = await stream.rest()
            assert (text_of(whole), whole[-1]["type"]) == ("a b c d", "done")
            rest = await joined.rest()
            assert (text_of(rest), rest[-1]) == ("a b c d", whole[-1])
            assert model.calls == 1
            assert set(talk.refused) == {503}
            contents = await talk.stored(two)
            assert set(talk.acknowledged) <= set(contents)
            assert len(contents) == len(set(contents))
            with psycopg.connect(database.url) as connection:
                assert connection.execute("SELECT count(*) FROM chat_frames").fetchone() == (0,)


async def is_ready(client: Client) -> bool:
    return (await client.request("GET", "/readyz")).status == 200
