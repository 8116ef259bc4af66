"""Connections that come together are accepted in several turns of the loop; for those that are dead nothing is made."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Any

import pytest

from chatserver.metrics import Metrics
from chatserver.web.http.accepting import CONNECTIONS_PER_TURN, DEAD_PER_TURN, Acceptor
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


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may not hand out connections that were reset")
async def test_connections_that_are_dead_before_they_are_accepted_cost_others_nothing() -> None:
    """Of a flood of them few turns are spent on it, nothing is made or counted for one, and whoever waits for a
    response is served, even if it said that it sends no more."""
    accepted: list[bytes] = []

    def accept(connection: socket.socket, address: Any, _surplus: bool) -> None:
        accepted.append(connection.recv(16) if len(accepted) < 2 else b"")
        connection.close()
        acceptor.gone(address)

    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        listener.setblocking(False)
        clients = []
        for number in range(3 * DEAD_PER_TURN):
            client = socket.create_connection(listener.getsockname())
            if number % 3:
                if number % 3 == 1:
                    client.send(b"request")
                reset(client)
            else:
                client.close()
        for shut in (False, True):
            client = socket.create_connection(listener.getsockname())
            client.send(b"request")
            if shut:
                client.shutdown(socket.SHUT_WR)
            clients.append(client)
        clients.append(socket.create_connection(listener.getsockname()))
        metrics = Metrics("0")
        acceptor = Acceptor(accept, metrics, limit=100, per_address=3)
        acceptor.add([listener])
        for _ in range(3 + 2):  # turns of the loop
            await asyncio.sleep(0)
        assert accepted == [b"request", b"request", b""]
        assert metrics.connections_refused._value.get() == 0
        assert metrics.connections._value.get() == 0
        acceptor.stop()
    for client in clients:
        client.close()
