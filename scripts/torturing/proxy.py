"""A TCP proxy in front of the database, for one server process: it can cut, hang, sever and delay."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from types import TracebackType
from typing import Self

from scripts.torturing.serving import ServingTasks

PIECE_BYTES = 65_536


class DatabaseProxy:
    """`async with DatabaseProxy(port)` listens at `self.port` and passes all on to `port`, until told otherwise."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks = ServingTasks()
        self._to_database = asyncio.Event()
        self._to_client = asyncio.Event()
        self._refuses = False
        self.delay_seconds = 0.0
        self.heal()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.heal()
        self._abort()
        await self._tasks.ended()

    def cut(self) -> None:
        """Reset all connections, and each new one, until `heal`."""
        self._refuses = True
        self._abort()

    def hang(self) -> None:
        """Keep all connections open, accept new ones, and pass nothing on, until `heal`."""
        self._to_database.clear()
        self._to_client.clear()

    def hold(self, *, answers: bool) -> None:
        """As `hang`, but one way only: the database still gets what it is sent (`answers`), or its answers pass."""
        (self._to_client if answers else self._to_database).clear()

    def lose(self) -> None:
        """Reset all connections with what was held back in them; new ones pass."""
        self._abort()
        self.heal()

    def heal(self) -> None:
        self._refuses = False
        self._to_database.set()
        self._to_client.set()

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        self._writers.add(writer)
        with self._tasks.running():
            await self._pass_on(reader, writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target: asyncio.StreamWriter | None = None
        try:
            await self._to_database.wait()
            target_reader, target = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers.add(target)
            copies = [
                asyncio.ensure_future(self._copy(reader, target, self._to_database)),
                asyncio.ensure_future(self._copy(target_reader, writer, self._to_client)),
            ]
            try:
                await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for copy in copies:
                    copy.cancel()
                await asyncio.gather(*copies, return_exceptions=True)
        except OSError:
            pass
        finally:
            for end in (writer, target):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, passing: asyncio.Event) -> None:
        """Pass all on while it is `passing`, each piece `delay_seconds` after it came."""
        loop = asyncio.get_running_loop()
        pieces: deque[tuple[float, bytes]] = deque()
        came = asyncio.Event()

        async def read() -> None:
            while data := await source.read(PIECE_BYTES):
                pieces.append((loop.time() + self.delay_seconds, data))
                came.set()
            pieces.append((loop.time(), b""))
            came.set()

        reading = asyncio.ensure_future(read())
        reading.add_done_callback(lambda _: came.set())
        try:
            with contextlib.suppress(OSError):
                while True:
                    while not pieces:
                        if reading.done():
                            return
                        came.clear()
                        await came.wait()
                    due, data = pieces.popleft()
                    if (left := due - loop.time()) > 0:
                        await asyncio.sleep(left)
                    await passing.wait()
                    if not data:
                        return
                    sink.write(data)
                    await sink.drain()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
