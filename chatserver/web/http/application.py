"""Tornado's Application, with handlers that may refuse a request before its body is read."""

from __future__ import annotations

from typing import Any

import tornado.web
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPConnection, HTTPMessageDelegate

from chatserver.web.http.base_handler import Handler
from chatserver.web.http.body_limits import Bodies, IncomingBody
from chatserver.web.http.request import Request
from chatserver.web.http.request_delegate import RequestDelegate
from chatserver.web.http.router import Router, Target

# Tornado's own bound of a body: larger than any real one, because the bound is ours.
_NO_BOUND = 10**100


class Application(tornado.web.Application):
    """An Application of our handlers: each is given the body of its request, which may still have to arrive."""

    def __init__(self, router: Router[Handler], not_found: Target[Handler], *, bodies: Bodies, **settings: Any) -> None:
        super().__init__(**settings)
        self.bodies = bodies
        """What the bodies of all requests hold together."""
        self._router = router
        self._not_found: tuple[Target[Handler], list[str]] = not_found, []

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:  # noqa: ARG002
        assert isinstance(request_conn, HTTP1Connection)
        request_conn.set_max_body_size(_NO_BOUND)
        return RequestDelegate(self, request_conn)

    def handler_for(self, request: Request, incoming: IncomingBody) -> Handler:
        """The handler that serves a request."""
        target, parameters = self._router.find(request.path) or self._not_found
        return target.handler(self, request, incoming=incoming, parameters=parameters, **target.arguments)
