"""The way of a request from its head to its handler, as Tornado's connection tells of it piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from chatserver.errors import ChatServerError, RequestTooSlowError
from chatserver.web.http import body_limits
from chatserver.web.http.body_limits import Bodies, IncomingBody, declared_bytes
from chatserver.web.http.refusals import MALFORMED_BODY, Refusal
from chatserver.web.http.request import Request
from chatserver.web.http.request_heads import normalise
from chatserver.web.http.server_stream import ServerStream


class ServingHandler(Protocol):
    """A handler that serves one request; see `base_handler.Handler`."""

    async def serve(self, prepared: asyncio.Future[None] | None) -> None: ...

    def refuse(self, error: ChatServerError) -> None:
        """Respond with an error, and close the connection."""

    def on_connection_close(self) -> None: ...


class HandlerSource(Protocol):
    """Where handlers come from: the application."""

    @property
    def bodies(self) -> Bodies: ...

    def handler_for(self, request: Request, incoming: IncomingBody) -> ServingHandler: ...


def open_request(
    application: HandlerSource,
    connection: HTTP1Connection,
    start_line: RequestStartLine,
    headers: HTTPHeaders,
    body: bytes = b"",
) -> tuple[ServingHandler, IncomingBody]:
    """The handler of a request whose head is normalised, and the body that it waits for. `body`: all of it, if it has
    arrived already."""
    declared = declared_bytes(headers)
    expected = bool(declared) or "Transfer-Encoding" in headers
    incoming = IncomingBody(application.bodies, expected=expected, declared=declared, body=body)
    return application.handler_for(Request(start_line, headers, connection), incoming), incoming


class RequestDelegate(HTTPMessageDelegate):
    """Finds the handler of one request, has it serve the request, and hands it the body.

    Tornado closes the connection after a response that it sends before it has read the request to its end. So the
    handler of a request without a body is started at the end of the request, that of another one after the headers.
    """

    _handler: ServingHandler
    _incoming: IncomingBody
    """Both are there as soon as the head is known to be well-formed."""

    def __init__(self, application: HandlerSource, connection: HTTP1Connection) -> None:
        self.application = application
        self._connection = connection
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._over = True
        """Whether nothing more of the request counts: it is malformed, complete or refused, or its client has left."""

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        try:
            start_line = normalise(start_line, headers)
        except HTTPInputError as error:
            self._expect_refusal(Refusal(400, str(error)))
            raise
        self._expect_refusal(MALFORMED_BODY)
        self._handler, self._incoming = open_request(self.application, self._connection, start_line, headers)
        self._over = False
        if self._incoming.complete:
            return None
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(body_limits.BODY_SECONDS, self._refuse, RequestTooSlowError())
        prepared: asyncio.Future[None] = loop.create_future()
        self._start(prepared)
        return prepared

    def _expect_refusal(self, refusal: Refusal) -> None:
        """Say what is wrong if Tornado refuses the request from now on."""
        if isinstance(self._connection.stream, ServerStream):
            self._connection.stream.refusal = refusal

    def _start(self, prepared: asyncio.Future[None] | None) -> None:
        self._task = asyncio.get_running_loop().create_task(self._handler.serve(prepared))

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
        self._end()
        if self._incoming.complete:
            self._start(None)
            return
        try:
            self._incoming.end()
        except ChatServerError as error:
            self._give_up(error)

    def on_connection_close(self) -> None:
        if not self._over:
            self._end()
            self._incoming.give_up()
            if self._task is not None:
                self._handler.on_connection_close()

    def _refuse(self, error: ChatServerError) -> None:
        """Respond while the handler waits for the rest of the body, and end the handler."""
        if not self._over:
            self._end()
            self._give_up(error)

    def _give_up(self, error: ChatServerError) -> None:
        self._incoming.give_up()
        self._handler.refuse(error)
        self._handler.on_connection_close()

    def _end(self) -> None:
        self._over = True
        if self._deadline is not None:
            self._deadline.cancel()
