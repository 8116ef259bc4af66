"""Bodies are bounded before they are read, and one that is too large gets a proper response.

Tornado's own `max_body_size` responds with a bare 400. Here the handler runs all the same, and learns from `exceeds`
that it has to refuse. At most the limit and one byte of a body are kept. A little more is read and discarded, so that a
client that sends before it reads gets to see the response. Beyond that the response is sent at once, and Tornado closes
the connection.
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

# Tornado's own bound: larger than any real body, because the bound here is ours.
_NO_BOUND = 10**100


def exceeds(request: HTTPServerRequest, max_bytes: int) -> bool:
    """Whether the body of a request is larger than that, as received or as declared by Content-Length."""
    return len(request.body) > max_bytes or _declared_bytes(request.headers) > max_bytes


def _declared_bytes(headers: HTTPHeaders) -> int:
    """The declared length; 0 if there is none. Tornado refuses one that is not a number."""
    value = headers.get("Content-Length", "").partition(",")[0]
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= 100 else 0


class BoundedApplication(tornado.web.Application):
    """An Application that bounds the bodies of requests. Its handlers must ask `exceeds`."""

    def __init__(self, handlers: Any, *, max_body_bytes: int, **settings: Any) -> None:
        super().__init__(handlers, **settings)
        self._max_body_bytes = max_body_bytes

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        delegate = super().start_request(server_conn, request_conn)
        assert isinstance(request_conn, HTTP1Connection)
        return _BoundedBody(delegate, request_conn, self._max_body_bytes)


class _BoundedBody(HTTPMessageDelegate):
    """Bounds a body before the delegate that collects it."""

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
            # A client that sends `Expect: 100-continue` is not told to continue (RFC 9110, section 10.1.1).
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
