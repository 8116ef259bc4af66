"""The bodies of requests: bounded each and all together, and refused before they are read where that is possible.

The headers say how long most bodies are. So a handler checks all that it can before the body: whether the request comes
from another site, who sends it, and whether its body is too large. Nothing of a refused body is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine

from chatserver.errors import BodyTooLargeError, ChatServerError, RequestTooSlowError, UnavailableError

# How long a body may take to arrive.
BODY_SECONDS = 60
# The most bytes of bodies that are kept at once, those of all requests together; more if two of the largest need more.
ALL_BODIES_BYTES = 64 * 1024 * 1024
# A longer Content-Length than this many digits is not a length that anybody means.
_MAX_DIGITS = 18


def declared_bytes(headers: HTTPHeaders) -> int | None:
    """The length in Content-Length; None if there is none. Raises ValueError if it is not one number.

    The same number given several times is allowed (RFC 9112, section 6.3).
    """
    if "Content-Length" not in headers:
        return None
    first, *others = (value.strip(" \t") for value in headers["Content-Length"].split(","))
    if not (first.isascii() and first.isdecimal()) or any(other != first for other in others):
        raise ValueError("Content-Length is not one number")
    digits = first.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS


def has_body(headers: HTTPHeaders) -> bool:
    """Whether a body follows the headers of a request, which are well-formed."""
    return "Transfer-Encoding" in headers or bool(declared_bytes(headers))


class Bodies:
    """What the bodies of all requests hold together."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` bounds one body."""
        self.max_bytes = max_bytes
        self.all_bytes = max(ALL_BODIES_BYTES, 2 * max_bytes)
        self.held_bytes = 0


class Receiver(Protocol):
    """The handler of a request whose body arrives."""

    def body_arrived(self) -> None:
        """The body is complete. Raises a ChatServerError to refuse the request all the same."""

    def refuse(self, error: ChatServerError) -> None:
        """Respond with an error, and close the connection."""


class IncomingBody:
    """The body of one request. `receiver` is set by the handler."""

    receiver: Receiver

    def __init__(self, bodies: Bodies, *, expected: bool, declared: int | None) -> None:
        self.complete = not expected
        """Whether all of it was read. Otherwise the connection cannot serve another request."""
        self._bodies = bodies
        self._declared = declared or 0
        self._received = bytearray()

    def admit(self) -> None:
        """Raises BodyTooLargeError or UnavailableError for a body that is not to be read, by its declared length."""
        if self._declared > self._bodies.max_bytes:
            raise BodyTooLargeError
        self._require_room(self._declared)

    def add(self, chunk: bytes) -> None:
        """Keep a piece. Raises as `admit`."""
        if len(self._received) + len(chunk) > self._bodies.max_bytes:
            raise BodyTooLargeError
        self._require_room(len(chunk))
        self._received += chunk
        self._bodies.held_bytes += len(chunk)

    def _require_room(self, more: int) -> None:
        if more and self._bodies.held_bytes + more > self._bodies.all_bytes:
            raise UnavailableError("Too many requests are being received")

    def take(self) -> bytes:
        """The whole body, which is not kept any longer."""
        body = bytes(self._received)
        self.release()
        return body

    def release(self) -> None:
        """Keep nothing. May be called again."""
        self._bodies.held_bytes -= len(self._received)
        self._received.clear()


class BodyDelegate(HTTPMessageDelegate):
    """Stands before Tornado's delegate of a handler with `stream_request_body`, and collects the body.

    Tornado closes the connection after a response that it sends before it has read the request to its end. So the
    handler of a request without a body is started at the end of the request, that of another one after the headers.
    """

    def __init__(self, delegate: HTTPMessageDelegate, incoming: IncomingBody) -> None:
        self._delegate = delegate
        self._incoming = incoming
        self._head: tuple[RequestStartLine | ResponseStartLine, HTTPHeaders] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._over = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        if self._incoming.complete:
            self._head = start_line, headers
            return None
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(BODY_SECONDS, self._refuse, RequestTooSlowError())
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> None:
        if self._over:
            return
        try:
            self._incoming.add(chunk)
        except ChatServerError as error:
            self._refuse(error)

    def finish(self) -> None:
        if self._over:
            return
        if self._head is not None:
            self._over = True
            self._delegate.headers_received(*self._head)
            self._delegate.finish()
            return
        self._incoming.complete = True
        try:
            self._incoming.receiver.body_arrived()
        except ChatServerError as error:
            self._refuse(error)
        else:
            self._end()
            self._delegate.finish()

    def on_connection_close(self) -> None:
        if not self._over:
            self._end()
            self._incoming.release()
            if self._head is None:
                self._delegate.on_connection_close()

    def _refuse(self, error: ChatServerError) -> None:
        """Respond while the handler waits for the rest of the body, and end the handler."""
        if not self._over:
            self._end()
            self._incoming.release()
            self._incoming.receiver.refuse(error)
            self._delegate.on_connection_close()

    def _end(self) -> None:
        self._over = True
        if self._deadline is not None:
            self._deadline.cancel()
