"""Streams leave no reference cycles behind, however they end: full garbage collections may wait."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from tornado.http1connection import HTTP1Connection

from chatserver.live.journal import Journal
from chatserver.live.run import Run
from chatserver.providers.attempt import Attempt
from chatserver.providers.transport import Exchange
from chatserver.web.http.base_handler import Handler
from chatserver.web.http.server_stream import ServerStream
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving
from tests.kit.waiting import eventually

OF_A_STREAM = (Handler, HTTP1Connection, ServerStream, Run, Journal, Attempt, Exchange)


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What is found when the garbage is collected, which a test does itself."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize("end", ["done", "close", "reset", "hang-up", "stop"])
async def test_stream_leaves_no_cycles_behind(module_database_url: str, garbage: list[object], end: str) -> None:
    async with (
        ModelServer() as model,
        serving(module_database_url, resume_grace_seconds=0, **model.settings) as client,
    ):
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        call = await model.call()
        await call.send("part")
        await stream.event()
        match end:
            case "done":
                await call.finish()
                await stream.rest()
            case "hang-up":
                call.hang_up()
                await stream.rest()
            case "stop":
                await client.ok("POST", f"/api/conversations/{conversation}/stop", {})
                await stream.rest()
        (stream.connection.reset if end == "reset" else stream.connection.close)()
        await eventually(lambda: not list(client.app.answers) and not len(client.app.streams))
        # A request of another connection: by then the tasks of the first one have ended.
        await client.ok("GET", "/healthz")
        gc.collect()
        assert [each for each in garbage if isinstance(each, OF_A_STREAM)] == []


async def test_connection_that_is_reset_leaves_no_cycles_behind(
    module_database_url: str, garbage: list[object]
) -> None:
    async with serving(module_database_url) as client:
        connection = await client.connect()
        connection.writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        _, headers = await connection.head()
        await connection.read(int(headers["content-length"]))
        connection.reset()
        connections = client.app.metrics.registry.get_sample_value
        await eventually(lambda: connections("chatserver_connections") == 0)
        gc.collect()
        assert [each for each in garbage if isinstance(each, OF_A_STREAM)] == []
