"""Streams leave no reference cycles behind, however they end: full garbage collections may wait."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator

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
def new_objects() -> Iterator[Callable[[], list[object]]]:
    """Tells what there is of the streams of this test. The garbage collector is off, so cycles stay."""
    gc.collect()
    gc.disable()
    before = objects_of_streams()
    yield lambda: [each for each in objects_of_streams() if not any(each is old for old in before)]
    gc.enable()


def objects_of_streams() -> list[object]:
    # Not `isinstance`, which asks a weak reference's object for its class.
    return [each for each in gc.get_objects() if issubclass(type(each), OF_A_STREAM)]


@pytest.mark.parametrize("end", ["done", "close", "reset", "hang-up", "stop", "held"])
async def test_stream_leaves_no_cycles_behind(
    module_database_url: str, new_objects: Callable[[], list[object]], end: str
) -> None:
    async with (
        ModelServer() as model,
        serving(module_database_url, resume_grace_seconds=0.1 if end == "held" else 0, **model.settings) as client,
    ):
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        call = await model.call()
        await call.send("part")
        await stream.event()
        assert all(any(isinstance(each, kind) for each in new_objects()) for kind in OF_A_STREAM)
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
        while end == "held" and not call.is_closed():  # what comes after the reader has left is held
            await call.send("more")
            await asyncio.sleep(0)
        await eventually(lambda: not new_objects())


async def test_connection_that_is_reset_leaves_no_cycles_behind(
    module_database_url: str, new_objects: Callable[[], list[object]]
) -> None:
    async with serving(module_database_url) as client:
        connection = await client.connect()
        connection.writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        _, headers = await connection.head()
        await connection.read(int(headers["content-length"]))
        connection.reset()
        await eventually(lambda: not new_objects())
