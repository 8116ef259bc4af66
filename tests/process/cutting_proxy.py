"""A network that hangs up on event streams in their midst."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

EVENTS = 3


class CuttingProxy:
    """Passes on all that goes to and from the server at `target`, but cuts the first streams after EVENTS events."""

    def __init__(self, target: int, cuts: int) -> None:
        self.cuts_left = cuts
        self.port = 0
        self._target = target
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        upwards = asyncio.create_task(self._pass_on(reader, server_writer))
        try:
            await self._pass_on(server_reader, writer, may_cut=True)
        finally:
            upwards.cancel()
            await asyncio.gather(upwards, return_exceptions=True)
            for each in (writer, server_writer):
                each.close()
                with contextlib.suppress(ConnectionError):
                    await each.wait_closed()
            self.tasks.discard(task)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, may_cut: bool = False
    ) -> None:
        events = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
                events += data.count(b"\ndata: ")
                if may_cut and self.cuts_left and events >= EVENTS:
                    self.cuts_left -= 1
                    return


@asynccontextmanager
async def cutting_proxy(target: int, *, cuts: int) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(target, cuts)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        tasks = list(proxy.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
