"""Models over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import tornado

from chatserver.providers import remote
from chatserver.providers.base import Finish, TextDelta
from chatserver.providers.transport import Exchange
from tests.kit.model_server import Call
from tests.kit.waiting import PATIENCE_SECONDS
from tests.process.provider_calls import (
    ANSWER,
    ask,
    failure_of,
)

CERTIFICATE = Path(tornado.__file__).parent / "test" / "test.crt"


def tls_server(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Any:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
    return asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)


async def answer_over_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    writer.close()


def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the certificate of `tls_server`, from now on."""
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    trusting.check_hostname = False
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)


async def test_answer_is_read_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    async with await tls_server(answer_over_tls) as server:
        trust(monkeypatch)
        port = server.sockets[0].getsockname()[1]
        deltas = [delta async for delta in ask(f"https://127.0.0.1:{port}/v1")]
    assert deltas == [TextDelta("a"), Finish("stop")]


async def test_untrusted_certificate_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with await tls_server(answer_over_tls) as server:
        port = server.sockets[0].getsockname()[1]
        error = await failure_of(ask(f"https://127.0.0.1:{port}/v1", retries=2))
    assert error.code == "unavailable"
    ours = [record for record in caplog.records if record.name == remote.__name__]
    assert len(ours) == 1
    assert "certificate" in ours[0].getMessage()


async def test_cancelling_in_a_handshake_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        pull = asyncio.ensure_future(anext(ask(f"https://127.0.0.1:{listener.getsockname()[1]}/v1")))
        sock, _ = await asyncio.get_running_loop().sock_accept(listener)
        sock.setblocking(False)
        with sock:
            call = Call(sock)
            await asyncio.get_running_loop().sock_recv(sock, 65_536)  # its hello
            pull.cancel()
            await asyncio.wait([pull])
            assert call.is_closed()


async def test_cancelling_as_the_handshake_ends_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connection_made = Exchange.connection_made

    def and_cancel(self: Exchange, transport: asyncio.BaseTransport) -> None:
        connection_made(self, transport)
        pull.cancel()

    closed = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            await reader.read()
            closed.set()

    monkeypatch.setattr(Exchange, "connection_made", and_cancel)
    async with await tls_server(wait) as server:
        trust(monkeypatch)
        pull = asyncio.ensure_future(anext(ask(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")))
        await asyncio.wait([pull])
        assert pull.cancelled()
        await asyncio.wait_for(closed.wait(), PATIENCE_SECONDS)


async def test_endless_handshake_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        assert (await failure_of(ask(url, connect_seconds=0.2))).code == "timeout"
