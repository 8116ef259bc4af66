"""An HTTP/1.1 connection on which a test sends what it likes, and sees every byte that comes back."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from tornado.httputil import HTTPHeaders

from tests.kit.waiting import PATIENCE_SECONDS


class Connection:
    """An HTTP/1.1 connection; bodies are read as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, *, receive_buffer: int | None = None) -> Connection:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        limit = 4_096 if receive_buffer is not None else 2**16
        return cls(*await asyncio.open_connection(sock=sock, limit=limit))

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        version: str = "HTTP/1.1",
    ) -> None:
        """Send a request; `body` is sent as JSON with its content type, or as it is if it is bytes."""
        lines = {"Host": "localhost", **(headers or {})}
        data = b""
        if body is not None:
            if isinstance(body, bytes):
                data = body
            else:
                data = json.dumps(body, ensure_ascii=False).encode()
                lines = {"Content-Type": "application/json", **lines}
            lines = {"Content-Length": str(len(data)), **lines}
        elif method in ("POST", "PUT", "PATCH"):
            lines = {"Content-Length": "0", **lines}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.writer.write(f"{method} {path} {version}\r\n{head}\r\n".encode() + data)
        await self.writer.drain()

    async def head(self) -> tuple[int, HTTPHeaders]:
        """The status and the headers of the next response."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        status_line, _, lines = raw.decode("latin-1").partition("\r\n")
        return int(status_line.split(" ")[1]), HTTPHeaders.parse(lines)

    async def read(self, size: int | None = None) -> bytes:
        """The next `size` bytes; None: all until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await (self.reader.read() if size is None else self.reader.readexactly(size))

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            size = int(await self.reader.readline(), 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Leave with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def dechunk(raw: bytes) -> bytes:
    """The content of a whole chunked body."""
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    return body
