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
import uvloop

from chatserver.providers import remote
from chatserver.providers.base import Finish, TextDelta
from chatserver.providers.transport import Exchange
from tests.kit.model_server import Call
from tests.kit.waiting import PATIENCE_SECONDS
from tests.process.provider_calls import (
    ANSWER,
    END,
    HEAD,
    ask,
    failure_of,
)

CERTIFICATE = Path(tornado.__file__).parent / "test" / "test.crt"


def tls_server(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Any:
    return asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context())


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
    return context


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


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("tokens", [100, 700, 1_200])
@pytest.mark.parametrize("held", [False, True])
def test_long_answer_of_a_model_that_closes_at_once_is_whole(
    held: bool, tokens: int, new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to about 250 KB are there at once. `held`: nobody wants them until the model has closed the connection."""
    trust(monkeypatch)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        for _ in range(3):
            runner.run(check_long_answer(tokens, held=held))


async def check_long_answer(tokens: int, *, held: bool) -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}],"id":"%b"}\n\n' % (b"x" * 120)

    def answer(listener: socket.socket) -> None:
        """Send all, and close without waiting for the client."""
        connection, _ = listener.accept()
        with server_context().wrap_socket(connection, server_side=True) as tls:
            while not tls.recv(65_536).endswith(b"}"):
                pass
            tls.sendall(HEAD + event * tokens + END)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = asyncio.ensure_future(asyncio.to_thread(answer, listener))
        deltas = ask(f"https://127.0.0.1:{listener.getsockname()[1]}/v1")
        first = await anext(deltas)
        if held:
            await asyncio.wait_for(answering, PATIENCE_SECONDS)
        rest = [delta async for delta in deltas]
        await answering
    assert [first, *rest] == [TextDelta("word ")] * tokens + [Finish("stop")]


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
