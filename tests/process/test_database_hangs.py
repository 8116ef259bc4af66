"""A database that answers late, or not at all: every request ends in time, and all goes on when it is back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from chatserver.services.health import ANSWER_SECONDS
from chatserver.services.health import LOOK_SECONDS as HEALTH_LOOK_SECONDS
from chatserver.storage.postgres.deadlines import BEYOND_STATEMENT_SECONDS, LOOK_SECONDS, QUEUE_SECONDS
from tests.kit.cutting_proxy import CuttableProxy
from tests.kit.http_client import Response
from tests.kit.model_server import ModelServer
from tests.kit.outage import frozen
from tests.kit.server_process import ServerProcess, started
from tests.kit.waiting import eventually

STATEMENT_SECONDS = 4.0
SETTINGS = {"CHATSERVER_STATEMENT_TIMEOUT_SECONDS": str(STATEMENT_SECONDS), "CHATSERVER_PING_SECONDS": "0.2"}
# For all that the machine itself needs, however busy it is.
MACHINE_SECONDS = 6.0
# A read has at most two calls one after another.
READ_SECONDS = 2 * (STATEMENT_SECONDS + BEYOND_STATEMENT_SECONDS + LOOK_SECONDS) + MACHINE_SECONDS


@asynccontextmanager
async def behind_proxy(database_url: str, **environment: str) -> AsyncIterator[tuple[CuttableProxy, ServerProcess]]:
    with CuttableProxy(database_url, delays_answers=True) as proxy:
        parts = urlsplit(database_url)
        user = f"{parts.username}:{parts.password}" if parts.password else str(parts.username or "")
        url = f"postgresql://{user}@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable&gssencmode=disable"
        async with started("--database-url", url, **SETTINGS, **environment) as server:
            yield proxy, server


async def read(server: ServerProcess, conversation: str) -> Response:
    return await server.request("GET", f"/api/conversations/{conversation}/messages")


def refused_for_now(response: Response) -> bool:
    return response.status == 503 and int(response.headers["retry-after"]) >= 1


async def test_reads_end_in_time_while_each_answer_is_late(database_url: str) -> None:
    async with behind_proxy(database_url) as (proxy, server):
        conversation = await server.conversation()
        await server.say(conversation, "x")
        proxy.delay_seconds = 2.0
        async with asyncio.timeout(READ_SECONDS):
            responses = await asyncio.gather(*(read(server, conversation) for _ in range(400)))
        assert all(response.status == 200 or refused_for_now(response) for response in responses)
        statuses = Counter(response.status for response in responses)
        assert statuses[200] and statuses[503], statuses


async def test_nothing_waits_for_long_while_nothing_is_answered(database_url: str) -> None:
    async with ModelServer() as model, behind_proxy(database_url, **model.environment) as (proxy, server):
        conversation = await server.conversation()
        question = await server.say(conversation, "x")
        stream = await server.stream(conversation, question)
        call = await model.call()
        await call.send("an answer")
        await stream.event()
        proxy.swallows = True
        await call.finish()
        reads = [asyncio.ensure_future(read(server, conversation)) for _ in range(40)]
        message = {"role": "user", "content": "y"}
        path = f"/api/conversations/{conversation}/messages"
        writes = [asyncio.ensure_future(server.request("POST", path, message)) for _ in range(40)]
        async with asyncio.timeout(ANSWER_SECONDS + LOOK_SECONDS + MACHINE_SECONDS):
            assert refused_for_now(await server.request("GET", "/readyz"))
            assert (await server.request("GET", "/healthz")).status == 200
        async with asyncio.timeout(READ_SECONDS + QUEUE_SECONDS):
            responses = await asyncio.gather(*reads, *writes)
        assert all(refused_for_now(response) for response in responses), [each.status for each in responses]
        # These hang when the server is back: what was asked on their connections is lost.
        late = [asyncio.ensure_future(read(server, conversation)) for _ in range(40)]
        await asyncio.sleep(HEALTH_LOOK_SECONDS + ANSWER_SECONDS)
        proxy.swallows = False

        async def served() -> bool:
            return (await read(server, conversation)).status == 200

        await eventually(served, within_seconds=HEALTH_LOOK_SECONDS + ANSWER_SECONDS + MACHINE_SECONDS)
        assert all(response.status == 200 or refused_for_now(response) for response in await asyncio.gather(*late))
        async with asyncio.timeout(READ_SECONDS):
            assert [event["type"] for event in await stream.rest()][-1] == "done"


async def test_answer_and_requests_survive_a_frozen_embedded_database(tmp_path: Path) -> None:
    async with ModelServer() as model, started("--data-dir", str(tmp_path), **model.environment, **SETTINGS) as server:
        conversation = await server.conversation()
        question = await server.say(conversation, "x")
        stream = await server.stream(conversation, question)
        call = await model.call()
        await call.send("an answer")
        await stream.event()
        with frozen(tmp_path):
            await call.finish()
            async with asyncio.timeout(ANSWER_SECONDS + LOOK_SECONDS + MACHINE_SECONDS):
                assert refused_for_now(await server.request("GET", "/readyz"))
            async with asyncio.timeout(READ_SECONDS):
                responses = await asyncio.gather(*(read(server, conversation) for _ in range(40)))
            assert all(refused_for_now(response) for response in responses)

        async def served() -> bool:
            return (await read(server, conversation)).status == 200

        await eventually(served)
        async with asyncio.timeout(READ_SECONDS):
            assert [event["type"] for event in await stream.rest()][-1] == "done"
