"""The fast way out: bytes of a response go straight to the socket.

For each `flush`, Tornado makes a future and a chunk header, copies the bytes into a buffer and out of it, and asks the
loop for a turn. That is two thirds of what sending a token costs. Here a token is one `socket.send` of bytes that were
made once for all its readers. What the socket does not take goes Tornado's ordinary way: it waits in the stream's
buffer, and the client is cut off if it takes nothing. So do responses in HTTP/1.0 and to HEAD, those on a stream that
is no `ServerStream`, and all of them if the setting `fast_flush` is off. Clients get the same bytes in every case.

It touches these private parts of Tornado's:

- `RequestHandler._headers_written`: `finish` and `send_error` look at it, and the head of a response is sent here;
- `RequestHandler._headers` and `_reason`: what the head says;
- `HTTP1Connection._pending_write`: `finish` waits for it before it reads the next request;
- `HTTP1Connection._disconnect_on_finish`: whether the response has to say that the connection will be closed;
- `IOStream._closed` and `_write_buffer._size`: whether the connection is closed, and how many bytes wait to be sent.

A Tornado that has them no more is noticed when this module is imported; then everything goes the ordinary way.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from asyncio import Future
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import ClassVar

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.iostream import BaseIOStream, _StreamBuffer
from tornado.web import RequestHandler

from chatserver import logs, sse
from chatserver.live.reader import BATCH_FRAMES
from chatserver.web.http.server_stream import ServerStream

logger = logging.getLogger(__name__)

SUPPORTED = (
    {"_pending_write", "_disconnect_on_finish"} <= set(HTTP1Connection.__init__.__code__.co_names)
    and "_headers_written" in RequestHandler.flush.__code__.co_names
    and {"_headers", "_reason"} <= set(RequestHandler.clear.__code__.co_names)
    and "_pending_write" in HTTP1Connection.finish.__code__.co_names
    and {"_closed", "_write_buffer"} <= set(BaseIOStream.__init__.__code__.co_names)
    and "_size" in _StreamBuffer.__init__.__code__.co_names
)

# How many responses go on at the end of one turn of the loop; the others follow in the next.
RESPONSES_PER_TURN = 64
_LAST_CHUNK = b"0\r\n\r\n"


def head(status: int, reason: str, headers: HTTPHeaders) -> bytes:
    """The head of a response, as Tornado writes it. Raises ValueError if a part of it contains a line end."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.get_all())]
    text = "\r\n".join(lines)
    if text.count("\r") != len(lines) - 1 or text.count("\n") != len(lines) - 1:
        raise ValueError("the head of a response contains a line end")
    return f"{text}\r\n\r\n".encode("latin1")


def forget_heads(handler: RequestHandler) -> None:
    """Keep nothing of the heads of request and response that is not needed: a response may last for hours."""
    handler.request.headers.clear()
    if SUPPORTED:
        handler._headers = HTTPHeaders({n: v for n, v in handler._headers.get_all() if n == "Connection"})


class Outlet(ABC):
    """How the chunks of one response get to its client. `on_ready` is called as `ready` says."""

    __slots__ = ("_is_asked", "_on_ready", "_spent_turn", "_turns", "blocked")

    room: ClassVar[int]
    """How many chunks may be written, at most, before they are flushed."""

    def __init__(self, turns: LoopTurns, on_ready: Callable[[], None]) -> None:
        self.blocked = False
        """Whether the socket is full."""
        self._turns = turns
        self._on_ready = on_ready
        self._spent_turn = -1
        """The turn of the loop in which the response has had its share."""
        self._is_asked = False

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the connection is closed."""

    def ready(self) -> bool:
        """Whether chunks can be written now. If not, `on_ready` is called when they can, unless the client leaves."""
        if self.blocked:
            return False
        if self._spent_turn != self._turns.number:
            return True
        if not self._is_asked:
            self._is_asked = True
            self._turns.at_end(self._turn_ended)
        return False

    def _turn_ended(self) -> None:
        self._is_asked = False
        self._on_ready()

    @abstractmethod
    def expect(self, flushes: int) -> None:
        """So many flushes follow directly: their chunks may leave together, with the last of them."""

    @abstractmethod
    def write(self, chunk: bytes) -> None:
        """Add a chunk, with its header, to what is flushed next."""

    @abstractmethod
    def flush(self, last: bool) -> Future[None]:
        """Send what was written, and if it is the last, the end of the response. Done when the socket has taken it.

        It is sent even if the response is not `ready`.
        """

    def _block(self, sent: Future[None]) -> None:
        """The socket is full until `sent` is done."""
        self.blocked = True
        sent.add_done_callback(self._drained)

    def _drained(self, _: Future[None]) -> None:
        self.blocked = False
        self._on_ready()


class FastFlush:
    """The ways out of a process's responses. `enabled`: the setting."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled and SUPPORTED
        self._turns = LoopTurns()

    def outlet(
        self, handler: RequestHandler, flush: Callable[[bool], Future[None]], on_ready: Callable[[], None]
    ) -> Outlet:
        """The way of a response in chunks whose headers are set. `flush`: Tornado's own, of the handler."""
        direct = self._direct(handler.request)
        if direct is None:
            return _OrdinaryOutlet(self._turns, handler, flush, on_ready)
        return _FastOutlet(self._turns, handler, *direct, on_ready)

    def respond(self, handler: RequestHandler, body: Sequence[bytes]) -> Future[None] | None:
        """Send a whole response, and let the connection serve its next request. Done when the socket has taken it.

        The handler's headers say where the response ends. `body` is all of its body, in pieces. None: nothing was sent,
        and the response has to go the ordinary way.
        """
        direct = self._direct(handler.request)
        if direct is None:
            return None
        connection, stream = direct
        if connection._disconnect_on_finish:
            handler._headers["Connection"] = "close"
        response = b"".join([head(handler.get_status(), handler._reason, handler._headers), *body])
        handler._headers_written = True
        taken = _send_now(stream, response)
        sent = self._turns.done if taken == len(response) else _send_later(connection, stream, response, taken)
        connection.finish()
        return sent

    def _direct(self, request: HTTPServerRequest) -> tuple[HTTP1Connection, ServerStream] | None:
        """The connection to which a response can be sent directly."""
        connection = request.connection
        if (
            self._enabled
            and isinstance(connection, HTTP1Connection)
            and isinstance(connection.stream, ServerStream)
            and request.version == "HTTP/1.1"
            and request.method != "HEAD"
        ):
            return connection, connection.stream
        return None


class LoopTurns:
    """The turns of the loop: a response uses each once, and what it has more waits for the end of the turn."""

    def __init__(self) -> None:
        self.number = 0
        self.ends_soon = False
        """Whether the end of the present turn will be noticed."""
        self._waiting: list[Callable[[], None]] = []
        # The turns are those of many requests.
        self._context = logs.without_request()

    @cached_property
    def done(self) -> Future[None]:
        """A future that is done."""
        done: Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def notice_end(self) -> None:
        """Notice the end of the present turn."""
        if not self.ends_soon:
            self.ends_soon = True
            asyncio.get_running_loop().call_soon(self._end, context=self._context)

    def at_end(self, call: Callable[[], None]) -> None:
        """Call at the end of the present turn."""
        self.notice_end()
        self._waiting.append(call)

    def _end(self) -> None:
        self.number += 1
        self.ends_soon = False
        calls, self._waiting = self._waiting[:RESPONSES_PER_TURN], self._waiting[RESPONSES_PER_TURN:]
        if self._waiting:
            self.notice_end()
        for call in calls:
            try:
                call()
            except Exception:
                # The others have to go on all the same.
                logger.exception("a response cannot go on")


class _FastOutlet(Outlet):
    """Sends once in each turn of the loop: the first chunk at once, and what comes behind it at the end of the turn."""

    __slots__ = ("_chunks", "_connection", "_expected", "_stream")

    room = BATCH_FRAMES

    def __init__(
        self,
        turns: LoopTurns,
        handler: RequestHandler,
        connection: HTTP1Connection,
        stream: ServerStream,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(turns, on_ready)
        self._connection = connection
        self._stream = stream
        self._expected = 0
        headers = handler._headers
        if connection._disconnect_on_finish:
            headers["Connection"] = "close"
        headers["Transfer-Encoding"] = "chunked"
        self._chunks = [head(handler.get_status(), handler._reason, headers)]
        handler._headers_written = True

    @property
    def closed(self) -> bool:
        return self._stream.closed()

    def expect(self, flushes: int) -> None:
        self._expected = flushes

    def write(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def flush(self, last: bool) -> Future[None]:
        turns, chunks = self._turns, self._chunks
        if last:
            chunks.append(_LAST_CHUNK)
        elif self._expected > 1:
            self._expected -= 1
            return turns.done
        self._expected = 0
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._spent_turn = turns.number
        if not turns.ends_soon:
            turns.notice_end()
        taken = _send_now(self._stream, data)
        if taken == len(data):
            return turns.done
        sent = _send_later(self._connection, self._stream, data, taken)
        self._block(sent)
        return sent


class _OrdinaryOutlet(Outlet):
    """Writes chunk by chunk by Tornado's own `flush`, as many in each turn of the loop as leave together elsewhere."""

    __slots__ = ("_flush", "_flushes", "_handler", "_turn")

    room = 1

    def __init__(
        self,
        turns: LoopTurns,
        handler: RequestHandler,
        flush: Callable[[bool], Future[None]],
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(turns, on_ready)
        self._handler = handler
        self._flush = flush
        self._turn = -1
        self._flushes = 0
        """How many there were in `_turn`."""

    @property
    def closed(self) -> bool:
        connection = self._handler.request.connection
        return isinstance(connection, HTTP1Connection) and connection.stream.closed()

    def expect(self, flushes: int) -> None:
        """Tornado sends each chunk by itself."""

    def write(self, chunk: bytes) -> None:
        self._handler.write(sse.unchunk(chunk))

    def flush(self, last: bool) -> Future[None]:
        turns = self._turns
        turns.notice_end()
        if self._turn != turns.number:
            self._turn, self._flushes = turns.number, 0
        self._flushes += 1
        if self._flushes >= BATCH_FRAMES:
            self._spent_turn = turns.number
        flushed = self._flush(last)
        if not flushed.done():
            self._block(flushed)
        return flushed


def _send_now(stream: ServerStream, data: bytes) -> int:
    """Hand bytes to the socket; how many it took. 0 if others wait, the socket is full, or the connection is broken."""
    if stream._closed or stream._write_buffer._size:
        return 0
    try:
        taken = stream.socket.send(data)
    except OSError:
        return 0
    stream.sent_directly(taken)
    return taken


def _send_later(connection: HTTP1Connection, stream: ServerStream, data: bytes, taken: int) -> Future[None]:
    """Have Tornado send all but the first `taken` bytes. Done when the socket has taken them."""
    if stream.closed():
        return connection.write(b"")  # it fails as for every response
    sent = connection._pending_write = stream.write(memoryview(data)[taken:])
    return sent
