"""A client of a chatserver that listens on a Unix socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.kit.http_client import Client
from tests.kit.http_connection import Connection


class UnixClient(Client):
    def __init__(self, path: Path) -> None:
        super().__init__(0)
        self._path = path

    async def connect(self, *, receive_buffer: int | None = None) -> Connection:
        assert receive_buffer is None
        connection = Connection(*await asyncio.open_unix_connection(str(self._path)))
        self._connections.append(connection)
        return connection
