"""A request as handlers see it."""

from __future__ import annotations

import time

from tornado.escape import parse_qs_bytes
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine


class Request(HTTPServerRequest):
    """Tornado's request, without what no handler asks for: it checks the host and parses the query each time.

    `request_heads.normalise` has checked the head. The body is not here: see `body_limits.IncomingBody`.
    """

    def __init__(self, start_line: RequestStartLine, headers: HTTPHeaders, connection: HTTP1Connection) -> None:
        self.method, self.uri, self.version = start_line
        self.path, _, self.query = start_line.path.partition("?")
        self.headers = headers
        self.connection = connection
        self.remote_ip = getattr(connection.context, "remote_ip", None)
        self.protocol = getattr(connection.context, "protocol", "http")
        self.host = headers.get("Host", "127.0.0.1")
        self.body = b""
        self.query_arguments = parse_qs_bytes(self.query, keep_blank_values=True) if self.query else {}
        self._began = time.monotonic()

    def request_time(self) -> float:
        """How long it has taken so far, in seconds."""
        return time.monotonic() - self._began
