"""Tornado's Application, with handlers that may refuse a request before its body is read."""

from __future__ import annotations

from typing import Any

import tornado.web
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerRequest

from chatserver.web.http.body_limits import Bodies, BodyDelegate, IncomingBody, declared_bytes, has_body
from chatserver.web.http.request_heads import HeadDelegate

# Tornado's own bound of a body: larger than any real one, because the bound is ours.
_NO_BOUND = 10**100


class Application(tornado.web.Application):
    """An Application of our handlers: each is given the body of its request, which may still have to arrive."""

    def __init__(self, handlers: Any, *, bodies: Bodies, **settings: Any) -> None:
        super().__init__(handlers, **settings)
        self.bodies = bodies
        """What the bodies of all requests hold together."""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        assert isinstance(request_conn, HTTP1Connection)
        request_conn.set_max_body_size(_NO_BOUND)
        return HeadDelegate(super().start_request(server_conn, request_conn), request_conn)

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[tornado.web.RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> Any:
        headers = request.headers
        incoming = IncomingBody(self.bodies, expected=has_body(headers), declared=declared_bytes(headers))
        arguments = {**(target_kwargs or {}), "incoming": incoming}
        delegate = super().get_handler_delegate(request, target_class, arguments, path_args, path_kwargs)
        return BodyDelegate(delegate, incoming)
