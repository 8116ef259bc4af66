"""Which requests count as open, so that a stop waits for those and for nothing else."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.model_server import ModelServer
from tests.kit.served_app import Served, serving
from tests.kit.waiting import PATIENCE_SECONDS, eventually


async def none_open(server: Served) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await server.app.requests.wait_empty()
    assert len(server.app.requests) == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "BREW"])
@pytest.mark.parametrize("path", ["/healthz", "/", "/nowhere", "/api/session", "/api/conversations/x/export"])
async def test_request_with_a_response_is_not_open(database_url: str, method: str, path: str) -> None:
    async with serving(database_url) as server:
        await server.request(method, path)
        await none_open(server)


@pytest.mark.parametrize("with_reset", [True, False])
async def test_request_whose_client_left_in_mid_response_is_not_open(database_url: str, with_reset: bool) -> None:
    async with serving(database_url) as server:
        conversation = await server.conversation()
        for _ in range(80):
            await server.say(conversation, "x" * 100_000)
        for path in ("messages?limit=200", "export", "export?format=json"):
            connection = await server.connect(receive_buffer=4_096)
            await connection.send("GET", f"/api/conversations/{conversation}/{path}")
            await connection.head()
            assert len(server.app.requests) == 1
            connection.reset() if with_reset else connection.close()
            await none_open(server)


async def test_stream_is_open_until_its_end(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as server:
        conversation = await server.conversation()
        await server.say(conversation, "x")
        left, followed = await server.stream(conversation), await server.stream(conversation)
        call = await model.call()
        await call.send("part")
        await left.event()
        assert len(server.app.requests) == 2
        left.leave()
        await eventually(lambda: len(server.app.requests) == 1)
        await call.finish()
        await followed.rest()
        await none_open(server)


async def test_draining_server_tells_clients_to_close_their_connections(database_url: str) -> None:
    async with serving(database_url) as server:
        connection = await server.connect()
        for draining, told in ((False, None), (True, "close")):
            server.app.draining = draining
            await connection.send("GET", "/healthz")
            status, headers = await connection.head()
            assert (status, headers.get("connection")) == (200, told)
            await connection.reader.readexactly(int(headers["content-length"]))
