"""One HTTP exchange with a model: the request goes out, the bytes of the response are pulled in.

This uses the two layers beneath Tornado's `AsyncHTTPClient`, `TCPClient` and `HTTP1Connection`, because the client
itself cannot be told to close: a cancelled `fetch` leaves its socket open, and the model goes on. The model's bytes are
held back by `data_received`, which may return an awaitable: nothing more is read until it resolves.
"""

from __future__ import annotations

import asyncio
import logging
import select
import ssl
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

logger = logging.getLogger(__name__)

# What `poll` says of a socket whose other end was closed, even if bytes that came before are still unread.
_HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
# Tornado reads a quarter of this at once. No more than this waits in one stream.
_BUFFER_BYTES = 256 * 1024
_PARAMETERS = HTTP1ConnectionParameters(
    no_keep_alive=True,
    max_header_size=64 * 1024,
    # Tornado needs a bound on the whole body. Ours are on lines, and on the answer.
    max_body_size=1 << 40,
)


class ConnectError(Exception):
    """No connection to the model could be made

    `passing`: another try may succeed. `timed_out`: the time allowed was used up.
    """

    def __init__(self, reason: str, *, passing: bool = True, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing
        self.timed_out = timed_out


class SilenceError(Exception):
    """The model sent nothing within the time allowed"""


class ConnectionLostError(Exception):
    """The connection to the model ended in mid-answer"""


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


class _FailedRead:
    """A read that failed before it was awaited."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __await__(self) -> Generator[Any, None, bytes]:
        yield from ()
        raise self._error


class _LateFailingStream:
    """An IOStream whose reads fail when they are awaited, and not before.

    HTTP1Connection joins the chunks of a chunked body that are there, and drops them if the next read fails at once:
    the end of an answer would be lost if the model hangs up right after it. A test fails if this is no longer enough.
    """

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read_until(self, *args: Any, **kwargs: Any) -> Awaitable[bytes]:
        return self._read(self._stream.read_until, *args, **kwargs)

    def read_bytes(self, *args: Any, **kwargs: Any) -> Awaitable[bytes]:
        return self._read(self._stream.read_bytes, *args, **kwargs)

    @staticmethod
    def _read(read: Callable[..., Awaitable[bytes]], *args: Any, **kwargs: Any) -> Awaitable[bytes]:
        try:
            data = read(*args, **kwargs)
        except StreamClosedError as error:
            return _FailedRead(error)
        if isinstance(data, asyncio.Future) and data.done() and (failure := data.exception()) is not None:
            return _FailedRead(failure)
        return data


class Exchange(HTTPMessageDelegate):
    """One request and its response: `connect`, `post`, `read` until it gives `b""`, and in every case `close`.

    Beyond what fits the buffers above, bytes are taken from the model only during `post` or `read`. Only one task may
    use it.
    """

    status: int
    headers: Mapping[str, str]

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._target: Target
        self._stream: IOStream | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._chunk = b""  # received, not yet read
        self._taken: asyncio.Future[None] | None = None  # resolved when further bytes may come
        self._wanted: asyncio.Future[None] | None = None  # the task waits in `post` or `read`
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False
        self._complete = False
        self._ended = False

    async def connect(self, target: Target, seconds: float) -> None:
        """Connect within `seconds`. Raises ConnectError."""
        self._target = target
        self._stream = await _connect(target, seconds)

    async def post(self, headers: Mapping[str, str], body: bytes, deadline: float) -> None:
        """Send the request and wait for `status` and `headers` until `deadline`, a time of the running loop.

        Raises SilenceError, ConnectionLostError.
        """
        assert self._stream is not None, "connect first"
        stream = cast(IOStream, _LateFailingStream(self._stream))
        connection = HTTP1Connection(stream, is_client=True, params=_PARAMETERS)
        lines = HTTPHeaders({"Host": self._target.authority, "Connection": "close", "Accept-Encoding": "identity"})
        lines.update(headers)
        lines["Content-Length"] = str(len(body))
        connection.write_headers(RequestStartLine("POST", self._target.path, "HTTP/1.1"), lines, body)
        connection.finish()
        self._receiving = asyncio.create_task(self._receive(connection))
        while not self._answered:
            if self._ended:
                raise ConnectionLostError
            await self._wait(deadline)

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
        if self._stream is None or self._ended or self._stream.closed():
            return True
        poll = select.poll()
        poll.register(self._stream.fileno(), _HUNG_UP)
        return bool(poll.poll(0))

    async def read(self, deadline: float) -> bytes:
        """The next bytes of the body; empty at its end. `deadline` is a time of the running loop.

        Raises SilenceError, ConnectionLostError.
        """
        if not self._chunk:
            if self._taken is not None:
                self._taken.set_result(None)
                self._taken = None
            while not self._chunk:
                if self._complete:
                    return b""
                if self._ended:
                    raise ConnectionLostError
                await self._wait(deadline)
        chunk = self._chunk
        self._chunk = b""
        return chunk

    async def close(self) -> None:
        """Close the model's connection, before this first yields to the loop. May be called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stream is not None:
            self._stream.close()
        if self._receiving is not None:
            self._ended = True
            if self._taken is not None:
                self._taken.set_result(None)
                self._taken = None
            await asyncio.wait([self._receiving])

    # --- waiting -------------------------------------------------------------------------------------------

    async def _wait(self, deadline: float) -> None:
        """Wait until something has come. One timer serves many waits: it is set anew only if it fires too early."""
        self._deadline = deadline
        if self._timer is None or deadline < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._ring)
        self._wanted = self._loop.create_future()
        try:
            await self._wanted
        finally:
            self._wanted = None

    def _ring(self) -> None:
        self._timer = None
        if self._wanted is None or self._wanted.done():
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._ring)
        else:
            self._wanted.set_exception(SilenceError())

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    # --- receiving: called by Tornado, in a task of its own ------------------------------------------------

    async def _receive(self, connection: HTTP1Connection) -> None:
        try:
            await connection.read_response(self)
        except StreamClosedError:
            pass
        except Exception:
            logger.exception("reading a model's answer failed")
        finally:
            self._ended = True
            self._wake()

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, ResponseStartLine)
        if start_line.code >= 200:
            self.status = start_line.code
            self.headers = headers
            self._answered = True
            self._wake()

    def data_received(self, chunk: bytes) -> asyncio.Future[None] | None:
        if self._ended:
            return None
        self._chunk = chunk
        self._wake()
        # Tornado awaits it and would log an error if it were cancelled. So `close` resolves it.
        self._taken = self._loop.create_future()
        return self._taken

    def finish(self) -> None:
        self._complete = True
        self._wake()


async def _connect(target: Target, seconds: float) -> IOStream:
    """A connected stream, with TLS for https. If this fails or is cancelled, no socket stays open."""
    client = _TrackingTCPClient()
    try:
        async with asyncio.timeout(seconds):
            stream = await client.connect(target.host, target.port, max_buffer_size=_BUFFER_BYTES)
            stream.set_nodelay(True)
            if target.tls is not None:
                client.streams.clear()  # the socket now belongs to the TLS stream
                stream = await _secure(stream, target)
            return stream
    except TimeoutError:
        _close_all(client.streams)
        raise ConnectError("connecting took too long", timed_out=True) from None
    except ssl.SSLCertVerificationError:
        raise ConnectError("its certificate is not valid for its name or not trusted here", passing=False) from None
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that DNS cannot hold
        _close_all(client.streams)
        raise ConnectError(_name_of(error)) from None
    except BaseException:
        _close_all(client.streams)
        raise


async def _secure(stream: IOStream, target: Target) -> IOStream:
    handshake = stream.start_tls(False, target.tls, server_hostname=target.host)
    try:
        return await handshake
    except BaseException:
        # Cancelled in the loop turn in which the handshake ended: the stream exists and must be closed here.
        if not handshake.cancel() and not handshake.cancelled() and handshake.exception() is None:
            handshake.result().close()
        raise


def _close_all(streams: list[IOStream]) -> None:
    for stream in streams:
        stream.close()


def _name_of(error: BaseException) -> str:
    """The kind of an error, without its text, which may hold addresses."""
    real = getattr(error, "real_error", None) or error
    return type(real).__name__
