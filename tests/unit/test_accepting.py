"""Connections that come together are accepted in several turns of the loop."""

from __future__ import annotations

import socket
from typing import Any

from chatserver.metrics import Metrics
from chatserver.web.http.accepting import CONNECTIONS_PER_TURN, Acceptor
from tests.kit.loop_turns import most_per_turn


async def test_many_connections_are_accepted_in_several_turns_of_the_loop() -> None:
    accepted = 0

    def accept(connection: socket.socket, _address: Any, _surplus: bool) -> None:
        nonlocal accepted
        accepted += 1
        connection.close()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.setblocking(False)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(5 * CONNECTIONS_PER_TURN)]
        acceptor = Acceptor(accept, Metrics("0"), limit=100)
        acceptor.add([listener])
        most = await most_per_turn(lambda: accepted, lambda: accepted == len(clients))
        acceptor.stop()
    for client in clients:
        client.close()
    assert most <= CONNECTIONS_PER_TURN
