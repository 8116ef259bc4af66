"""The quick way in: a request that arrived whole, as nearly all do, is read in one step and served at once.

Tornado reads a request in several steps, with a coroutine, a future and a timer for most of them, and parses a header
by five regular expressions; that takes longer than the handler. Here one regular expression knows a whole head, and the
handler runs in the task of its connection. All else goes Tornado's ordinary way: what comes in pieces or in chunks,
expects to be told to continue, is HTTP/1.0, malformed, or only unusual. So nothing is refused here.

It touches these private parts of Tornado's:

- `BaseIOStream._read_buffer`, `_read_buffer_size`, `_state`: what was read and is not served here is put back;
- `HTTP1Connection._request_start_line`, `_request_headers` and `_disconnect_on_finish`, which say how to respond;
- `HTTP1Connection._read_finished`, `_finish_future`, `_on_connection_close`, `_clear_callbacks`: the end of a request.

A Tornado that has them no more is noticed when this module is imported; then everything goes the ordinary way.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPMessageDelegate, RequestStartLine
from tornado.iostream import BaseIOStream

from chatserver.web.http.request_delegate import RequestDelegate, ServingHandler, open_request
from chatserver.web.http.request_heads import normalise
from chatserver.web.http.server_stream import ServerStream

SUPPORTED = (
    {"_read_buffer", "_read_buffer_size", "_state"} <= set(BaseIOStream.__init__.__code__.co_names)
    and {"_request_start_line", "_request_headers", "_disconnect_on_finish", "_read_finished", "_finish_future"}
    <= set(HTTP1Connection.__init__.__code__.co_names)
    and {"_on_connection_close", "_clear_callbacks"} <= vars(HTTP1Connection).keys()
)

# RFC 9112, sections 3 to 5, without what is rare: a target of visible ASCII characters, and lines that end in CR LF.
_HEAD = re.compile(
    rb"(?P<method>[A-Z]{1,16}) (?P<target>/[!-~]*+) HTTP/1\.1\r\n"
    rb"(?P<fields>(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\x00-\x08\x0A-\x1F\x7F]*+\r\n)++)\r\n"
)


class RequestHeaders(HTTPHeaders):
    """Tornado's headers. That one is missing, as most are that are asked for, is found out without an exception."""

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401 (this is `get`)


class WholeRequest(NamedTuple):
    """A request whose head is well-formed and normalised, and what came behind it."""

    start_line: RequestStartLine
    headers: HTTPHeaders
    body: bytes
    rest: bytes


def parse(data: bytes) -> WholeRequest | None:
    """The request at the beginning of the data; None if it has to be read in the ordinary way."""
    match = _HEAD.match(data)
    if match is None:
        return None
    headers = RequestHeaders()
    for line in match["fields"].decode("latin1").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        if name in headers:
            headers.add(name, value.strip(" \t"))
        else:
            headers[name] = value.strip(" \t")
    if "Transfer-Encoding" in headers or "Expect" in headers:
        return None
    length = headers.get("Content-Length", "0")
    end = match.end()
    if not (length.isascii() and length.isdecimal()) or len(length) > 9 or len(data) < end + int(length):
        return None
    try:
        start_line = normalise(
            RequestStartLine(match["method"].decode(), match["target"].decode(), "HTTP/1.1"), headers
        )
    except HTTPInputError:
        return None
    end_of_body = end + int(length)
    return WholeRequest(start_line, headers, data[end:end_of_body], data[end_of_body:])


class QuickConnection(HTTP1Connection):
    """Tornado's connection for one request, read in one step where that is possible."""

    async def read_response(self, delegate: HTTPMessageDelegate) -> bool:
        """Read a request and have it served; whether the connection may serve another one. As in HTTP1Connection."""
        handler = await self._read_whole(delegate)
        if handler is None:
            return await super().read_response(delegate)
        self.stream.set_close_callback(self._on_connection_close)
        try:
            await handler.serve(None)
            if not self._finish_future.done():
                await self._finish_future
        finally:
            self._clear_callbacks()
        return True

    async def _read_whole(self, delegate: HTTPMessageDelegate) -> ServingHandler | None:
        """The handler of a request that is there as a whole. None: nothing was read.

        Of the bytes nothing is kept but what the handler has: it may serve for hours.
        """
        stream = self.stream
        if not (SUPPORTED and isinstance(stream, ServerStream) and isinstance(delegate, RequestDelegate)):
            return None
        data = await stream.first_bytes()
        request = parse(data)
        if request is None:
            _put_back(stream, data)
            return None
        if request.rest:
            _put_back(stream, request.rest)
        stream.head_arrived()
        self._request_start_line = request.start_line
        self._request_headers = request.headers
        self._disconnect_on_finish = request.headers.get("Connection", "").lower() == "close"
        self._read_finished = True
        handler, _ = open_request(delegate.application, self, request.start_line, request.headers, request.body)
        return handler


def _put_back(stream: ServerStream, data: bytes) -> None:
    """Have bytes read again. As long as there are some, Tornado does not look for more, nor for the client's end."""
    if stream.closed():
        return
    stream._read_buffer[:0] = data
    stream._read_buffer_size += len(data)
    if stream._state is not None:
        stream._state &= ~stream.io_loop.READ
        stream.io_loop.update_handler(stream.fileno(), stream._state)
