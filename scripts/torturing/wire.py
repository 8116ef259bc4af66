"""HTTP/1.1 on plain connections, which the client or a fault may cut at any byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, Literal

Lost = Literal["unreachable", "left", "broken", "timeout"]


class LostError(Exception):
    """The connection was lost; `why`: never made, closed by the client's plan, by others, or silent for too long."""

    def __init__(self, why: Lost) -> None:
        super().__init__(why)
        self.why: Lost = why


class Connections:
    """The open connections to one server, so that a fault can cut them."""

    def __init__(self) -> None:
        self._open: set[Exchange] = set()

    def add(self, exchange: Exchange) -> None:
        self._open.add(exchange)

    def discard(self, exchange: Exchange) -> None:
        self._open.discard(exchange)

    def cut(self) -> int:
        """Cut all of them; how many there were."""
        count = len(self._open)
        for exchange in list(self._open):
            exchange.abort()
        return count


class Exchange:
    """One request and its response, on a connection of its own.

    `cut_after`: the client reads so many bytes of the response and then hangs up with a reset. `patience_seconds`: how
    long it waits for the next byte.
    """

    def __init__(
        self, port: int, connections: Connections, *, cut_after: int | None = None, patience_seconds: float = 60.0
    ) -> None:
        self._port = port
        self._connections = connections
        self._left = cut_after
        self._patience = patience_seconds
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._buffer = b""
        self._chunked = False
        self._length: int | None = None
        self.status = 0
        self.headers: dict[str, str] = {}

    async def begin(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        """Send the request and read the head of the response. Raises LostError."""
        try:
            async with asyncio.timeout(self._patience):
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        except (OSError, TimeoutError):
            raise LostError("unreachable") from None
        self._connections.add(self)
        data = b"" if body is None else json.dumps(body).encode()
        lines = {"Host": "localhost", "Connection": "close", **(headers or {})}
        if body is not None:
            lines |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)
        while b"\r\n\r\n" not in self._buffer:
            if not await self._receive():
                raise LostError("broken")
        answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *rest = answer.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        self._chunked = self.headers.get("transfer-encoding") == "chunked"
        self._length = int(self.headers["content-length"]) if "content-length" in self.headers else None
        if self.status == 204:
            self._length = 0

    async def piece(self) -> bytes:
        """The next bytes of the body; empty at its proper end. Raises LostError."""
        return await (self._chunk() if self._chunked else self._plain())

    async def whole(self) -> bytes:
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def _plain(self) -> bytes:
        if self._length == 0:
            return b""
        if not self._buffer and not await self._receive():
            if self._length is None:
                return b""
            raise LostError("broken")
        piece, self._buffer = self._buffer, b""
        if self._length is not None:
            self._length -= len(piece)
        return piece

    async def _chunk(self) -> bytes:
        while b"\r\n" not in self._buffer:
            await self._more()
        size_line, _, rest = self._buffer.partition(b"\r\n")
        size = int(size_line, 16)
        while len(rest) < size + 2:
            # A chunk whose end is missing shows the client nothing: frames are shown when they are whole.
            await self._more()
            rest = self._buffer.partition(b"\r\n")[2]
        self._buffer = rest[size + 2 :]
        return rest[:size]

    async def _more(self) -> None:
        if not await self._receive():
            raise LostError("broken")

    async def _receive(self) -> bool:
        """Read more into the buffer; False at the end of the connection."""
        assert self._reader is not None
        if self._left == 0:
            self.abort()
            raise LostError("left")
        try:
            async with asyncio.timeout(self._patience):
                data = await self._reader.read(65_536 if self._left is None else min(self._left, 65_536))
        except TimeoutError:
            raise LostError("timeout") from None
        except OSError:
            raise LostError("broken") from None
        if self._left is not None:
            self._left -= len(data)
        self._buffer += data
        return bool(data)

    def abort(self) -> None:
        """Hang up, with a reset where the system allows it."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def close(self) -> None:
        self._connections.discard(self)
        if self._writer is not None:
            self._writer.transport.abort()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
