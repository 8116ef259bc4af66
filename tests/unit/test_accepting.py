"""Connections that come together are accepted in several turns of the loop."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from chatserver.metrics import Metrics
from chatserver.web.http.accepting import CONNECTIONS_PER_TURN, Acceptor
from tests.kit.waiting import eventually


async def test_many_connections_are_accepted_in_several_turns_of_the_loop() -> None:
    accepted: list[int] = []
    turn = 0

    def accept(connection: socket.socket, _address: Any, _surplus: bool) -> None:
        accepted.append(turn)
        connection.close()

    def count() -> None:
        nonlocal turn, counting
        turn += 1
        counting = asyncio.get_running_loop().call_soon(count)

    counting = asyncio.get_running_loop().call_soon(count)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.setblocking(False)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(5 * CONNECTIONS_PER_TURN)]
        acceptor = Acceptor(accept, Metrics("0"), limit=100)
        acceptor.add([listener])
        await eventually(lambda: len(accepted) == len(clients))
        counting.cancel()
        acceptor.stop()
    for client in clients:
        client.close()
    assert max(map(accepted.count, accepted)) <= CONNECTIONS_PER_TURN
