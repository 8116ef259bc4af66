"""The primary of a replicated PostgreSQL fails under load, and the standby takes its place."""

from __future__ import annotations

import asyncio

import psycopg

from tests.kit.event_stream import text_of
from tests.kit.http_client import Client
from tests.kit.model_server import ModelServer
from tests.kit.replicated import replicated
from tests.kit.server_process import started
from tests.kit.waiting import eventually


async def test_standby_takes_over_under_load_and_nothing_acknowledged_is_lost() -> None:
    """An answer that was being generated goes on for its readers, at its process and at another one."""
    with replicated() as database:
        async with (
            ModelServer() as model,
            started("--database-url", database.url, **model.environment) as one,
            started("--database-url", database.url, **model.environment) as two,
        ):
            conversation, other = await one.conversation(), await one.conversation()
            question = await one.say(conversation, "x")
            stream = await one.stream(conversation, question)
            call = await model.call()
            joined = await two.stream(conversation, question)
            for piece in ("a ", "b "):
                await call.send(piece)
                assert (await stream.event())["content"] == (await joined.event())["content"] == piece

            acknowledged: list[str] = []
            refused: list[int] = []
            ended = asyncio.Event()
            load = [asyncio.create_task(say(each, other, acknowledged, refused, ended)) for each in (one, two)]
            await eventually(lambda: len(acknowledged) > 20)
            await asyncio.to_thread(database.lose_primary)
            await call.send("c ")
            assert (await stream.event())["content"] == "c "
            await eventually(lambda: len(refused) > 2)
            assert (await one.request("GET", "/readyz")).status == 503
            await asyncio.to_thread(database.promote)
            before = len(acknowledged)
            await eventually(lambda: len(acknowledged) > before + 20)
            await eventually(lambda: is_ready(one))

            await call.send("d")
            await call.finish()
            whole = await stream.rest()
            assert (text_of(whole), whole[-1]["type"]) == ("a b c d", "done")
            rest = await joined.rest()
            assert (text_of(rest), rest[-1]) == ("a b c d", whole[-1])
            assert model.calls == 1
            ended.set()
            await asyncio.gather(*load)
            assert set(refused) == {503}
            contents = [message["content"] for message in await all_messages(two, other)]
            assert set(acknowledged) <= set(contents)
            assert len(contents) == len(set(contents))
            with psycopg.connect(database.url) as connection:
                assert connection.execute("SELECT count(*) FROM chat_frames").fetchone() == (0,)


async def say(client: Client, conversation: str, said: list[str], refused: list[int], ended: asyncio.Event) -> None:
    """Say something again and again; note what was acknowledged."""
    number = 0
    while not ended.is_set():
        number += 1
        content = f"{client.port} {number}"
        body = {"role": "user", "content": content}
        response = await client.request("POST", f"/api/conversations/{conversation}/messages", body)
        if response.status == 201:
            said.append(content)
        else:
            refused.append(response.status)
            assert int(response.headers["Retry-After"]) > 0
        await asyncio.sleep(0.01)


async def is_ready(client: Client) -> bool:
    return (await client.request("GET", "/readyz")).status == 200


async def all_messages(client: Client, conversation: str) -> list[dict[str, str]]:
    items: list[dict[str, str]] = []
    query = "?limit=200"
    while True:
        page = await client.ok("GET", f"/api/conversations/{conversation}/messages{query}")
        items += page["items"]
        if not page["hasMore"]:
            return items
        query = f"?limit=200&cursor={page['nextCursor']}"
