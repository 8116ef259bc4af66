"""The proxy of scripts/torture: what is held back passes later or is lost, in one direction or in both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from scripts.torturing.proxy import DatabaseProxy

SOON_SECONDS = 10.0
# Long enough for anything that passes to arrive; what is held back arrives never.
HELD_SECONDS = 0.2


class Place:
    """A proxy, and behind it a server that answers each line, and remembers it."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.lines.append(line)
                writer.write(b"answer to " + line)
        finally:
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server, DatabaseProxy(server.sockets[0].getsockname()[1]) as self.proxy:
            yield

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection that is known to pass."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        try:
            writer.write(b"first\n")
            async with asyncio.timeout(SOON_SECONDS):
                assert await reader.readline() == b"answer to first\n"
            yield reader, writer
        finally:
            writer.transport.abort()

    async def came(self, line: bytes) -> None:
        async with asyncio.timeout(SOON_SECONDS):
            while line not in self.lines:
                await asyncio.sleep(0.01)


def run(test: Callable[[Place], Awaitable[None]]) -> None:
    async def whole() -> None:
        place = Place()
        async with place.open():
            await test(place)

    asyncio.run(whole())


@pytest.mark.parametrize("answers", [True, False])
def test_what_is_held_back_one_way_is_lost_with_its_connection(answers: bool) -> None:
    async def test(place: Place) -> None:
        async with place.connected() as (reader, writer):
            place.proxy.hold(answers=answers)
            writer.write(b"second\n")
            if answers:
                await place.came(b"second\n")
            await asyncio.sleep(HELD_SECONDS)
            place.proxy.lose()
            assert await rest(reader) == b""
        assert (b"second\n" in place.lines) is answers
        async with place.connected():
            pass

    run(test)


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the connection ends, in order or not."""
    received = b""
    async with asyncio.timeout(SOON_SECONDS):
        with contextlib.suppress(ConnectionResetError):
            while piece := await reader.read(100):
                received += piece
    return received


def test_what_hangs_passes_when_it_is_healed() -> None:
    async def test(place: Place) -> None:
        async with place.connected() as (reader, writer):
            place.proxy.hang()
            writer.write(b"second\n")
            await asyncio.sleep(HELD_SECONDS)
            assert b"second\n" not in place.lines
            place.proxy.heal()
            async with asyncio.timeout(SOON_SECONDS):
                assert await reader.readline() == b"answer to second\n"

    run(test)
