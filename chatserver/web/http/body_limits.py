"""Bodies are bounded before they are read, and what is too large still gets a proper answer.

Tornado's own `max_body_size` answers with a bare 400. Here the handler is run all the same, and sees by
`exceeds` that it has to refuse. Never more than the limit and one byte is kept of a body; a little more is read
and thrown away, so that a client that sends on before it reads gets to see the answer. Past that the answer is
given at once and Tornado closes the connection.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import tornado.web
from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)

DISCARDED_BYTES = 8 * 1024 * 1024

# For Tornado, so that it leaves the bound to us: more than any length that a client can write down in earnest.
_NO_BOUND = 10**100


def exceeds(request: HTTPServerRequest, max_bytes: int) -> bool:
    """Whether the body of a request is larger than that, by what was received or by what it says of itself."""
    return len(request.body) > max_bytes or _declared_bytes(request.headers) > max_bytes


def _declared_bytes(headers: HTTPHeaders) -> int:
    """0 where nothing readable is declared; Tornado refuses what is not a number."""
    value = headers.get("Content-Length", "").partition(",")[0]
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= 100 else 0


class BoundedApplication(tornado.web.Application):
    """An Application whose requests' bodies are bounded; its handlers have to ask `exceeds`."""

    def __init__(self, handlers: Any, *, max_body_bytes: int, **settings: Any) -> None:
        super().__init__(handlers, **settings)
        self._max_body_bytes = max_body_bytes

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        delegate = super().start_request(server_conn, request_conn)
        assert isinstance(request_conn, HTTP1Connection)
        return _BoundedBody(delegate, request_conn, self._max_body_bytes)


class _BoundedBody(HTTPMessageDelegate):
    """Stands before the delegate that collects the body."""

    def __init__(self, delegate: HTTPMessageDelegate, connection: HTTP1Connection, max_bytes: int) -> None:
        self._delegate = delegate
        self._connection = connection
        self._max_bytes = max_bytes
        self._received = 0
        self._finished = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._connection.set_max_body_size(_NO_BOUND)
        result = self._delegate.headers_received(start_line, headers)
        declared = _declared_bytes(headers)
        if declared > self._max_bytes:
            # A client that asks first is not told to go on (RFC 9110, section 10.1.1).
            expectant = headers.pop("Expect", None) is not None
            if expectant or declared > self._max_bytes + DISCARDED_BYTES:
                self.finish()
        return result

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        room = self._max_bytes + 1 - self._received
        self._received += len(chunk)
        if self._finished:
            return None
        result = self._delegate.data_received(chunk[:room]) if room > 0 else None
        if self._received > self._max_bytes + DISCARDED_BYTES:
            self.finish()
        return result

    def finish(self) -> None:
        if not self._finished:
            self._finished = True
            self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()
