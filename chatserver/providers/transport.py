"""One HTTP exchange with a model: the request goes out, the bytes of the response are handed on as they come.

`AsyncHTTPClient` cannot be told to close: a cancelled `fetch` leaves its socket open, and the model goes on. So this is
a protocol of asyncio, whose reading can be paused: then the kernel holds the model's bytes back, and the model waits.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from tornado.iostream import IOStream
from tornado.tcpclient import TCPClient

from chatserver.providers.http_response import MalformedResponseError, ResponseDecoder

# What `poll` says of a socket whose other end was closed, even if bytes that came before are still unread.
_HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class ConnectError(Exception):
    """No connection to the model could be made

    `passing`: another try may succeed. `timed_out`: the time allowed was used up.
    """

    def __init__(self, reason: str, *, passing: bool = True, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing
        self.timed_out = timed_out


class ConnectionLostError(Exception):
    """The connection to the model ended before its response was complete, or the response is no HTTP"""


class Target:
    """The address of requests: the parts of an http or https URL, and for https the check of the certificate."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.authority = parts.netloc
        self.path = parts.path or "/"
        # Made once: loading the system's certificates takes tens of milliseconds.
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None


class Receiver(Protocol):
    """Whom an exchange tells of the response. The methods are called by the loop, and must not raise."""

    def head_received(self) -> None:
        """The exchange has `status` and `headers` now."""

    def body_received(self, data: bytes) -> None:
        """Bytes of the body. After `pause_reading` there may be one more call."""

    def ended(self, error: Exception | None) -> None:
        """The response is complete, or no more of it comes. Called once."""


# If TLS is paused when the model closes the connection, uvloop loses what has come before. So it is paused only when so
# many bytes have come since reading was to be paused.
TLS_AHEAD_BYTES = 262_144


class Exchange(asyncio.Protocol):
    """One request and its response: `connect`, `post`, and in every case `close`.

    While reading is paused, no more is taken from the model than fits the kernel's buffers; over TLS, TLS_AHEAD_BYTES
    more.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._response = ResponseDecoder()
        self._transport: asyncio.Transport | None = None
        self._disconnected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over = False
        self._is_tls = False
        self._ahead_bytes: int | None = None  # that have come over TLS since reading was to be paused

    async def connect(self, target: Target, seconds: float) -> None:
        """Connect within `seconds`, with TLS for https. Raises ConnectError."""
        try:
            async with asyncio.timeout(seconds):
                await self._open(target, await _connected(target), seconds)
        except TimeoutError:
            raise ConnectError("connecting took too long", timed_out=True) from None
        except ssl.SSLCertVerificationError:
            reason = "its certificate is not valid for its name or not trusted here"
            raise ConnectError(reason, passing=False) from None
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that DNS cannot hold
            raise ConnectError(_name_of(error)) from None

    async def _open(self, target: Target, sock: socket.socket, seconds: float) -> None:
        """Hand the socket to the loop, which closes it if this fails or is cancelled."""
        loop = asyncio.get_running_loop()
        protocol: asyncio.BaseProtocol = _Buffered(self)
        tls: dict[str, Any] = {}
        if target.tls is not None:
            protocol, self._is_tls = self, True
            # The loop's own bound on the handshake is a minute.
            tls = {"ssl": target.tls, "server_hostname": target.host, "ssl_handshake_timeout": seconds}
        try:
            await loop.create_connection(lambda: protocol, sock=sock, **tls)
        except BaseException:
            # The protocol may not be told of the end. The socket is closed in the next turn.
            self._transport = None
            await asyncio.sleep(0)
            raise

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> None:
        """Send the request."""
        assert self._transport is not None, "connect first"
        lines = {
            "Host": target.authority,
            "Connection": "close",
            "Accept-Encoding": "identity",
            **headers,
            "Content-Length": str(len(body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._transport.write(f"POST {target.path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def media_type(self) -> str:
        """The media type of the body in lower case, without parameters; empty if the model does not say."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def encoding(self) -> str:
        """How the body is compressed; empty if the model does not say."""
        return self.headers.get("Content-Encoding", "")

    def hung_up(self) -> bool:
        """Whether the model has closed its end by now. Bytes that it sent before may still be unread."""
        if self._transport is None or self._transport.is_closing():
            return True
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), _HUNG_UP)
        return bool(poll.poll(0))

    def pause_reading(self) -> None:
        """Take nothing more from the model, or little."""
        if self._is_tls:
            self._ahead_bytes = 0
        else:
            self._pause()

    def _pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._ahead_bytes = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    async def close(self) -> None:
        """Close the model's connection. May be called again."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
            await asyncio.wait([self._disconnected])

    # --- called by the loop -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        if self._ahead_bytes is not None:
            self._ahead_bytes += len(data)
            if self._ahead_bytes >= TLS_AHEAD_BYTES:
                self._pause()
        response = self._response
        had_head = response.has_head
        try:
            body = response.feed(data)
        except MalformedResponseError:
            self._end(ConnectionLostError())
            return
        if not had_head and response.has_head:
            self._receiver.head_received()
        if body:
            self._receiver.body_received(body)
        if response.complete:
            self._end(None)

    def eof_received(self) -> None:
        self._hear_no_more()

    def connection_lost(self, _: Exception | None) -> None:
        self._disconnected.set_result(None)
        self._hear_no_more()

    def _hear_no_more(self) -> None:
        self._response.end()
        self._end(None if self._response.complete else ConnectionLostError())

    def _end(self, error: Exception | None) -> None:
        if not self._over:
            self._over = True
            self._receiver.ended(error)


# Into this the loop reads what a model has sent, and it is taken out in the same call. Else the loop would make an
# object of up to 256 KiB for each model that is ahead of us, and the memory of these would stay with the process. There
# is one loop in a process.
_BUFFER = bytearray(16_384)


class _Buffered(asyncio.BufferedProtocol):
    """Hands an exchange what the loop reads into `_BUFFER`. Not for TLS: there the loops lose data that way, too."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._exchange.connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self._exchange.data_received(bytes(memoryview(_BUFFER)[:nbytes]))

    def eof_received(self) -> None:
        self._exchange.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._exchange.connection_lost(exc)


# --- connecting ---------------------------------------------------------------------------------------------


class _TrackingTCPClient(TCPClient):
    """A TCPClient that knows the sockets it opens.

    If a `connect` is cancelled in the loop turn in which the connection is made, its result is dropped, and the socket
    stays open, owned by the loop. Tornado has no public way to learn of it. If `_create_stream` goes away, connecting
    still works, and a test fails.
    """

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[IOStream] = []

    def _create_stream(self, *args: Any, **kwargs: Any) -> tuple[IOStream, asyncio.Future[IOStream]]:
        stream, connected = super()._create_stream(*args, **kwargs)
        self.streams.append(stream)
        return stream, connected


async def _connected(target: Target) -> socket.socket:
    """A connected socket. If this fails or is cancelled, none stays open.

    Tornado's client tries the addresses of IPv6 and IPv4 at once (RFC 6555), which uvloop does not.
    """
    client = _TrackingTCPClient()
    try:
        stream = await client.connect(target.host, target.port)
        sock = stream.socket.dup()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    finally:
        for each in client.streams:
            each.close()


def _name_of(error: BaseException) -> str:
    """The kind of an error, without its text, which may hold addresses."""
    real = getattr(error, "real_error", None) or error
    return type(real).__name__
