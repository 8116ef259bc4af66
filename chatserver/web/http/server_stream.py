"""The stream of a connection to the server: requests that Tornado refuses itself get a response like all others.

Tornado reads the head of a request by `read_until_regex`, responds to one that is malformed with a bare line, and
closes the connection without a word if the head is too long or too slow. Tornado also keeps what a client does not read
for ever; here a client that takes nothing is cut off. This class overrides the stream's public methods.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio import Future
from collections.abc import Callable
from types import TracebackType
from typing import cast

from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from chatserver import logs
from chatserver.loop_share import LoopShare
from chatserver.web.http.backlog import Backlog
from chatserver.web.http.future_steps import passes_failure_on, then
from chatserver.web.http.lingering import Lingering
from chatserver.web.http.refusals import (
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    MALFORMED,
    MALFORMED_BODY,
    Refusal,
    RequestLine,
    parse_request_line,
    refuse,
)
from chatserver.web.http.short_queues import shorten_queues
from chatserver.web.http.slow_clients import Patience, Taking

# How long the head of a request may take: from its first byte, and on a new connection from the beginning.
HEAD_SECONDS = 15.0

# So much is read at once. Tornado's 64 KiB, cleared before each read, cost more than the read.
_READ_BYTES = 16_384

# What Tornado writes in response to a malformed request, and to `Expect: 100-continue`.
_BARE_REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 (Continue)\r\n\r\n"


class ServerStream(IOStream):
    """Calls `on_refusal` for each request that it refuses, `on_cut` with the reason if the client is cut off because it
    takes nothing, and `on_gone` once when the socket is closed.

    `first_bytes` closes a connection on which no request begins for `idle_seconds`."""

    # Tornado's attributes just fit into a dictionary of the small kind; ours would make it a large one.
    __slots__ = (
        "_backlog",
        "_began",
        "_deadline",
        "_held_bytes",
        "_idle_seconds",
        "_idle_timer",
        "_idle_until",
        "_is_new",
        "_keeps_nodelay",
        "_line",
        "_lingering",
        "_looks_at_socket",
        "_on_cut",
        "_on_gone",
        "_on_refusal",
        "_reading_head",
        "_taking",
        "_waiting_bytes",
        "body_bytes",
        "is_last",
        "lingers",
        "refusal",
        "request_id",
        "responded",
        "surplus",
        "written_bytes",
    )

    def __init__(
        self,
        peer: socket.socket,
        *,
        surplus: bool,
        requests: LoopShare,
        lingering: Lingering,
        backlog: Backlog,
        idle_seconds: float,
        patience: Patience,
        on_cut: Callable[[str], None],
        on_refusal: Callable[[RequestLine, Refusal], None],
        on_gone: Callable[[], None],
    ) -> None:
        super().__init__(peer, read_chunk_size=_READ_BYTES)
        shorten_queues(self)
        self.surplus = surplus
        """Whether there are too many connections: this one serves one request."""
        self.refusal = MALFORMED
        """What is wrong with the present request, if Tornado refuses it."""
        self.is_last = False
        """Whether the connection is closed after the response to the present request."""
        self.lingers = False
        """Whether the client may still be sending when the connection is closed."""
        self._requests = requests
        self._lingering = lingering
        self._backlog = backlog
        self._idle_seconds = idle_seconds
        self._taking = Taking(patience, is_unix=peer.family == socket.AF_UNIX)
        self._on_cut = on_cut
        self._on_refusal = on_refusal
        self._on_gone = on_gone
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_until: float | None = None
        """When the connection is closed if no request has begun; None while one is read or served."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._looks_at_socket = True
        self._keeps_nodelay = False
        self._is_new = True
        self._line = b""
        """The request line of the present request, as far as it is known."""
        self._began = 0.0
        self._reading_head = False
        self.responded = False
        """Whether the response to the present request has begun."""
        self.written_bytes = 0
        """How much the kernel has taken, also of what was not sent by `write`."""
        self.request_id: str | None = None
        """The id of the newest request."""
        self._waiting_bytes = 0
        """How much the kernel has not taken yet."""
        self._held_bytes = 0
        """What of it, and of what was written with it, is kept in memory."""
        self.body_bytes = 0
        """What the handler keeps besides, to write it when the client has taken that."""

    # --- the head of a request ------------------------------------------------------------------------------------

    async def first_bytes(self) -> bytes:
        """The first bytes of the next request, 16,384 at most. Raises StreamClosedError if there is none."""
        self._begin_request()
        self._idle_until = self.io_loop.time() + self._idle_seconds
        if self._idle_timer is None:
            self._idle_timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._look_if_idle)
        # `read_bytes` would try to read at once: nearly always in vain, because the client has just got its response.
        self._looks_at_socket = False
        arriving = cast(Future[bytes], self.read_bytes(_READ_BYTES, partial=True))
        self._looks_at_socket = True
        if arriving.done():
            # A client that sends its requests all at once takes turns with the others.
            await asyncio.sleep(0)
        try:
            data = await arriving
        finally:
            # If it failed, it has an error whose frames have this variable: a circle, left for the garbage collector.
            del arriving
        self._idle_until = None
        if not self._requests.has_turn():
            await self._requests.turn()
        return data

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """As in IOStream, but it finds nothing while `first_bytes` begins to wait."""
        return super().read_from_fd(buf) if self._looks_at_socket else None

    def head_arrived(self) -> None:
        """`first_bytes` gave the whole head of a request."""
        self._reading_head = False
        self._stop_deadline()

    def _look_if_idle(self) -> None:
        """One timer for many requests: when its time has come, it goes on for as long as the last one allows."""
        self._idle_timer = None
        if self._idle_until is None or self.closed():
            return
        left = self._idle_until - self.io_loop.time()
        if left <= 0:
            self.close()
        else:
            self._idle_timer = asyncio.get_running_loop().call_later(left, self._look_if_idle)

    def _begin_request(self) -> None:
        """Raises StreamClosedError if no request is to be served any more."""
        if self.is_last and not self.closed():
            self.lingers = True
            self.close()
        if self.closed():
            # Requests that lie in the buffer behind the last one must not be carried out.
            raise StreamClosedError
        self.refusal, self._line, self._reading_head, self.responded = MALFORMED, b"", True, False
        self._began = self.io_loop.time()
        if self._is_new:
            self._is_new = False
            self._start_deadline()

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Future[bytes]:
        """As in IOStream; Tornado reads nothing but heads of requests by it."""
        self._begin_request()
        head: Future[bytes] = Future()

        def began(first: Future[bytes]) -> None:
            if passes_failure_on(first, head):
                return
            self._line = first.result()
            self._began = self.io_loop.time()
            self._start_deadline()
            try:
                rest = super(ServerStream, self).read_until_regex(regex, None if max_bytes is None else max_bytes - 1)
            except StreamClosedError as error:
                head.set_exception(error)
            else:
                then(rest, ended)

        def ended(rest: Future[bytes]) -> None:
            self._stop_deadline()
            if not passes_failure_on(rest, head):
                whole = self._line + rest.result()
                self._line = whole.lstrip(b"\r\n").partition(b"\n")[0]
                self._reading_head = False
                head.set_result(whole)

        then(super().read_bytes(1), began)
        return head

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._head_is_late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        if self._line:
            self._refuse(HEAD_TOO_SLOW)
        self.close()

    # --- the response -------------------------------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> Future[None]:
        if data == _BARE_REFUSAL:
            self.lingers = True
            data = self._response(self.refusal)
        elif data != _CONTINUE:
            self.responded = True
        return self._give(data)

    def _give(self, data: bytes | memoryview) -> Future[None]:
        self._waiting_bytes += len(data)
        self._held_bytes += len(data)
        written = super().write(data)
        if self._waiting_bytes and not self.closed():
            self._backlog.added(self, self._held_bytes + self.body_bytes)
        return written

    def set_nodelay(self, value: bool) -> None:
        """Nagle's algorithm is turned off once: Tornado would turn it on after each response."""
        if value and not self._keeps_nodelay:
            self._keeps_nodelay = True
            super().set_nodelay(True)

    def sent_directly(self, taken: int) -> None:
        """The socket was given something past `write`, and the kernel has taken so many bytes."""
        self.responded = True
        self.written_bytes += taken

    def write_to_fd(self, data: memoryview) -> int:
        written = super().write_to_fd(data)
        self.written_bytes += written
        self._waiting_bytes -= written
        if not self._waiting_bytes:
            self._held_bytes = 0
        if written:
            self._backlog.went_on(self, self._held_bytes + self.body_bytes if self._waiting_bytes else 0)
        return written

    def look(self, now: float) -> bool:
        """Cut the client off if it takes nothing; whether that was so. To be called every few moments, also between two
        requests: the system may still hold the end of a response. `now`: the loop's time."""
        if self.closed():
            return False
        fault = self._taking.fault(self.socket, self.written_bytes, self._waiting_bytes > 0, now)
        if fault is not None:
            self._cut_off(fault)
        return fault is not None

    def make_room(self) -> None:
        """Too much waits for the clients of this process, and this one has taken nothing for longest: cut it off."""
        self._cut_off("took nothing while too much waited for clients")

    def _cut_off(self, reason: str) -> None:
        before = logs.request_id.set(self.request_id)
        self._on_cut(reason)
        logs.request_id.reset(before)
        self.reset()

    def _refuse(self, refusal: Refusal) -> None:
        self.lingers = True
        self._give(self._response(refusal))

    def _response(self, refusal: Refusal) -> bytes:
        if self.responded:
            return b""
        self.responded = True
        line = parse_request_line(self._line)
        self._on_refusal(line, refusal)
        return refuse(refusal, line, self.io_loop.time() - self._began)

    # --- the end --------------------------------------------------------------------------------------------------

    def close(
        self,
        exc_info: bool
        | BaseException
        | tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
        | None = False,
    ) -> None:
        if isinstance(exc_info, UnsatisfiableReadError) and not self.closed():
            self._refuse(HEAD_TOO_LARGE if self._reading_head else MALFORMED_BODY)
        self._stop_deadline()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self._backlog.gone(self)
        if isinstance(exc_info, BaseException):
            # It is kept here, and the frames in its traceback hold this stream: another circle.
            exc_info = exc_info.with_traceback(None)
        super().close(exc_info)

    def reset(self) -> None:
        """Close with a reset, so that nobody takes an incomplete response for complete. May be called again."""
        if not self.closed():
            self.lingers = False
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def close_fd(self) -> None:
        peer, self.socket = self.socket, None  # type: ignore[assignment]
        if self.lingers:
            self._lingering.adopt(peer, self._on_gone)
        else:
            peer.close()
            self._on_gone()
