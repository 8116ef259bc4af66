"""The base of all handlers: guards, authentication, reading requests, writing responses."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar

import tornado.web
from pydantic import BaseModel
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError

from chatserver import logs
from chatserver.credentials import TOKEN_PREFIX
from chatserver.errors import (
    ChatServerError,
    NotFoundError,
    Problem,
    RateLimitedError,
    TryLaterError,
    ValidationError,
)
from chatserver.ids import new_request_id
from chatserver.origin import Origin, origin, share
from chatserver.schema_types import to_json
from chatserver.schemas import CreateMessage, EditMessage, StreamMessage
from chatserver.services.access import Need
from chatserver.web.handler_context import HandlerContext
from chatserver.web.http import parsing
from chatserver.web.http.admitting_handler import AdmittingHandler
from chatserver.web.http.body_limits import IncomingBody
from chatserver.web.http.caller import RequestCaller
from chatserver.web.http.cors import cors_headers
from chatserver.web.http.error_responses import error_response
from chatserver.web.http.guards import under_api
from chatserver.web.http.refusals import ISOLATION_HEADERS
from chatserver.web.http.server_stream import ServerStream

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)
Message = TypeVar("Message", CreateMessage, EditMessage, StreamMessage)

IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)
# Methods whose requests need no body: if there is one, it is not kept while the handler works.
_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Handler(AdmittingHandler):
    """Base of every handler: refuses requests of other sites' pages, and of those who may not send them; turns errors
    into responses.

    `prepare` and `admit` run before the body of the request is read, the method that serves the request afterwards.

    A subclass implements the methods that it serves. GET serves HEAD, too; a subclass without HEAD sets
    `head = tornado.web.RequestHandler.head`. OPTIONS names the methods.
    """

    default_headers = (("Cache-Control", "no-store"), *ISOLATION_HEADERS.items())

    timed: bool = True
    """Whether the duration of a request says anything about the server."""

    _ended = False

    def __init__(
        self,
        application: tornado.web.Application,
        request: HTTPServerRequest,
        *,
        incoming: IncomingBody,
        parameters: Sequence[str],
        **kwargs: Any,
    ) -> None:
        """`parameters`: the texts in the path that the method is given, as they are in the path."""
        self._incoming = incoming
        incoming.receiver = self
        self._parameters = parameters
        connection = request.connection
        stream = connection.stream if isinstance(connection, HTTP1Connection) else None
        self._stream = stream if isinstance(stream, ServerStream) else None
        """The stream of the connection; None under a server that is not ours."""
        given = request.headers.get("X-Request-Id", "")
        is_sane = _SANE_REQUEST_ID.fullmatch(given) is not None and TOKEN_PREFIX not in given
        self.request_id = given if is_sane else new_request_id()
        """The id of the request in its response and in the log: the client's own if that is well-formed."""
        if self._stream is not None:
            self._stream.request_id = self.request_id
        super().__init__(application, request, **kwargs)

    def initialize(self, context: HandlerContext) -> None:
        self.context = context
        request, trusted = self.request, context.settings.trusted_proxies
        self.caller = RequestCaller(request.remote_ip or "", request.protocol, request.headers, trusted)

    @property
    def label(self) -> str:
        """The handler's name in the metrics."""
        return type(self).__name__

    def set_own_headers(self) -> None:  # called before `initialize`
        self._headers["X-Request-Id"] = self.request_id
        if self._stream is not None and self._stream.surplus:
            self._headers["Connection"] = "close"

    async def serve(self, prepared: asyncio.Future[None] | None) -> None:
        """Serve the request. `prepared` is done when the body may be read; None if the request is complete.

        This is what Tornado's `_execute` does, for a body that is not Tornado's affair.
        """
        try:
            method = self.request.method or ""
            if method not in self.SUPPORTED_METHODS:
                raise tornado.web.HTTPError(405)
            arguments = [parsing.path_argument(text) for text in self._parameters]
            await self.prepare()
            _set(prepared)
            is_coming = self._incoming.is_coming
            if self._ended or not await self._incoming.arrived():
                return
            if is_coming:
                await self.admit_again()
            if method in _WITHOUT_BODY:
                self._incoming.release()
            result = getattr(self, method.lower())(*arguments)
            if result is not None:
                await result
            if not self._ended:
                self.finish()
        except (Exception, asyncio.CancelledError) as error:
            self.log_exception(type(error), error, error.__traceback__)
            if not self._ended:
                self.send_error(exc_info=(type(error), error, error.__traceback__))
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
        finally:
            _set(prepared)
            logs.request_id.set(None)  # the task may serve other requests
            origin.set(None)
            share.set(None)

    async def prepare(self) -> None:
        logs.request_id.set(self.request_id)
        origin.set(Origin(self.caller))
        if self._incoming.complete:
            self.context.requests.add(self)
        guards, headers = self.context.guards, self.request.headers
        guards.check(self.request.path, headers, self.scheme)
        self.caller.is_other_page = guards.is_other_page(headers, self.scheme)
        self.let_other_sites_read()
        await self.admit()
        if not self.implements(self.request.method or ""):
            raise tornado.web.HTTPError(405)
        self._incoming.admit(self.body_share)

    def body_arrived(self) -> None:
        self.context.requests.add(self)

    def refuse(self, error: ChatServerError) -> None:
        if not self._ended:
            before = logs.request_id.set(self.request_id)
            self.send_error(exc_info=(type(error), error, None))
            logs.request_id.reset(before)

    @property
    def scheme(self) -> str:
        """The scheme that the client used: http or https."""
        return self.caller.scheme

    def compute_etag(self) -> str | None:
        return None

    # --- methods ------------------------------------------------------------------------------------------

    def head(self, *args: str, **kwargs: str) -> Any:
        """As GET; Tornado does not send the body."""
        return self.get(*args, **kwargs)

    def options(self, *args: str, **kwargs: str) -> None:  # noqa: ARG002
        self.set_header("Allow", ", ".join(self.allowed_methods()))
        self.write_nothing()

    # --- reading ------------------------------------------------------------------------------------------

    def body(self, model: type[M]) -> M:
        """The body of the request as a `model`; to be called once. Raises what `parsing.parse_body` raises."""
        return parsing.parse_body(model, self._incoming.take(), self.request.headers)

    def message_body(self, model: type[Message]) -> Message:
        """`body` for a body with a message. Raises ValidationError if it is longer than `max_message_chars`, too."""
        message = self.body(model)
        max_chars = self.context.settings.max_message_chars
        if len(message.content) > max_chars:
            raise ValidationError([Problem("content", f"String should have at most {max_chars} characters")])
        return message

    def idempotency_key(self) -> str | None:
        """The header Idempotency-Key, if there is one; raises ValidationError for a malformed one."""
        given = self.request.headers.get_list("Idempotency-Key")
        if not given:
            return None
        if len(given) > 1 or IDEMPOTENCY_KEY.fullmatch(given[0]) is None:
            raise ValidationError([Problem("Idempotency-Key", "must be 1 to 255 visible ASCII characters")])
        return given[0]

    def query(self, model: type[M]) -> M:
        """The query of the request as a `model`. Raises ValidationError."""
        return parsing.parse_query(model, self.request.query)

    # --- writing ------------------------------------------------------------------------------------------

    def write_json(self, resource: BaseModel, status: int = 200) -> None:
        """End the response with a resource."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(to_json(resource))

    def write_nothing(self) -> None:
        """End the response with 204."""
        self.set_status(204)
        self.finish()

    def finish(self, chunk: str | bytes | dict[Any, Any] | None = None) -> asyncio.Future[None]:
        self._ended = True
        self._incoming.release()
        if self.context.draining() or not self._incoming.complete:
            # The client's next request has to go to another process; or it could not be told from the rest of this one.
            self.set_header("Connection", "close")
        stream = self._stream
        if stream is not None:
            stream.lingers = not self._incoming.complete
            stream.is_last = self._headers.get("Connection", "") == "close"
        sent = super().finish(chunk)
        if sent.done():
            self.context.requests.discard(self)
        else:
            sent.add_done_callback(lambda _: self.context.requests.discard(self))
        return sent

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002
        """Called by Tornado when a method raised. `status_code`, Tornado's own choice, is ignored."""
        error: BaseException | None = kwargs.get("exc_info", (None, None, None))[1]
        status, body = error_response(error)
        self.set_status(status)
        self.let_other_sites_read()
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if status == 405:
            self.set_header("Allow", ", ".join(self.allowed_methods()))
        if isinstance(error, TryLaterError):
            self.set_header("Retry-After", error.retry_after_seconds)
        self.set_header("Content-Type", "application/json")
        self.finish(body.model_dump_json(by_alias=True, exclude_none=True))

    def log_exception(
        self,
        typ: type[BaseException] | None,  # noqa: ARG002
        value: BaseException | None,
        tb: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Log defects only: the access log has the status of other errors. Those that a bound refused are counted."""
        if isinstance(value, RateLimitedError) and value.bound is not None:
            self.context.metrics.refused(value.bound)
        gone = isinstance(value, StreamClosedError)
        if not gone and error_response(value)[0] == 500:
            logger.error("%s %s failed", self.request.method, type(self).__name__, exc_info=value)

    def let_other_sites_read(self) -> None:
        allowed = self.context.guards.allowed_origins
        if not allowed:
            return
        for name, value in cors_headers(self.request.headers, allowed, self.allowed_methods()).items():
            self.set_header(name, value)


def _set(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class ApiHandler(Handler):
    """Base of the handlers that need an actor: all their methods need a role."""

    otherwise = Need.READER

    def __init_subclass__(cls, **needs: Need) -> None:
        super().__init_subclass__(**needs)
        if any(need.role is None for need in cls.needs.values()):
            raise TypeError(f"{cls.__name__} has a method that needs no role")


class NotFoundHandler(Handler):
    """Serves every path without a route: 404."""

    async def admit(self) -> None:
        await super().admit()
        raise NotFoundError("API route not found" if under_api(self.request.path) else None)
