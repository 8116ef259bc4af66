"""The base of all handlers: guards, authentication, reading requests, writing responses."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from functools import cached_property
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import tornado.web
from pydantic import BaseModel
from tornado.iostream import StreamClosedError

from chatserver import logs
from chatserver.errors import (
    BodyTooLargeError,
    MalformedError,
    NotFoundError,
    Problem,
    TryLaterError,
    ValidationError,
)
from chatserver.schemas import CreateMessage, EditMessage, StreamMessage
from chatserver.services.access import API, Actor
from chatserver.web.handler_context import HandlerContext
from chatserver.web.http import body_limits, parsing
from chatserver.web.http.client_address import client_address
from chatserver.web.http.cors import cors_headers
from chatserver.web.http.error_responses import error_response

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)
Message = TypeVar("Message", CreateMessage, EditMessage, StreamMessage)

IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Handler(tornado.web.RequestHandler):
    """Base of every handler: refuses requests of other sites' pages, and turns errors into responses.

    A subclass implements the methods that it serves. GET serves HEAD, too; a subclass without HEAD sets
    `head = tornado.web.RequestHandler.head`. OPTIONS names the methods.
    """

    timed: ClassVar[bool] = True
    """Whether the duration of a request says anything about the server."""

    context: HandlerContext

    def initialize(self, context: HandlerContext) -> None:
        self.context = context

    @property
    def label(self) -> str:
        """The handler's name in the metrics."""
        return type(self).__name__

    @cached_property
    def request_id(self) -> str:
        """The id of the request in its response and in the log: the client's own if that is well-formed."""
        given = self.request.headers.get("X-Request-Id", "")
        return given if _SANE_REQUEST_ID.fullmatch(given) else secrets.token_hex(16)

    def set_default_headers(self) -> None:  # called before `initialize`
        self.clear_header("Server")
        self.clear_header("Content-Type")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Request-Id", self.request_id)

    async def prepare(self) -> None:
        self.context.requests.add(self)
        logs.request_id.set(self.request_id)
        self.context.access.guard(self.request.path, self.request.headers)
        if body_limits.exceeds(self.request, self.context.settings.max_body_bytes):
            raise BodyTooLargeError
        self.let_other_sites_read()

    def compute_etag(self) -> str | None:
        return None

    # --- methods ------------------------------------------------------------------------------------------

    def head(self, *args: str, **kwargs: str) -> Any:
        """As GET; Tornado does not send the body."""
        return self.get(*args, **kwargs)

    def options(self, *args: str, **kwargs: str) -> None:  # noqa: ARG002
        self.set_header("Allow", ", ".join(self.allowed_methods()))
        self.write_nothing()

    @classmethod
    def allowed_methods(cls) -> list[str]:
        names = [name for name in cls.SUPPORTED_METHODS if _implements(cls, name)]
        return [name for name in names if name != "HEAD" or "GET" in names]

    # --- reading ------------------------------------------------------------------------------------------

    def body(self, model: type[M]) -> M:
        """The body of the request as a `model`. Raises what `parsing.parse_body` raises."""
        return parsing.parse_body(model, self.request.body, self.request.headers)

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

    def decode_argument(self, value: bytes, name: str | None = None) -> str:  # noqa: ARG002
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise MalformedError("Malformed path") from None

    # --- writing ------------------------------------------------------------------------------------------

    def write_json(self, resource: BaseModel, status: int = 200) -> None:
        """End the response with a resource."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(resource.model_dump_json(by_alias=True))

    def write_nothing(self) -> None:
        """End the response with 204."""
        self.set_status(204)
        self.finish()

    def finish(self, chunk: str | bytes | dict[Any, Any] | None = None) -> asyncio.Future[None]:
        if self.context.draining():
            # The client's next request has to go to another process.
            self.set_header("Connection", "close")
        sent = super().finish(chunk)
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
        if status == 413:
            self.set_header("Connection", "close")
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
        """Log defects only. The access log has the status of other errors."""
        gone = isinstance(value, StreamClosedError)
        if not gone and error_response(value)[0] == 500:
            logger.error("%s %s failed", self.request.method, type(self).__name__, exc_info=value)

    def let_other_sites_read(self) -> None:
        allowed_origins = self.context.settings.allowed_origins
        for name, value in cors_headers(self.request.headers, allowed_origins, self.allowed_methods()).items():
            self.set_header(name, value)


def _implements(cls: type[Handler], method: str) -> bool:
    return getattr(cls, method.lower()) is not getattr(tornado.web.RequestHandler, method.lower())


class ApiHandler(Handler):
    """Base of the handlers that need an actor: each request is authenticated."""

    actor: Actor

    async def prepare(self) -> None:
        await super().prepare()
        if self.request.method != "OPTIONS":  # browsers send preflight requests without credentials
            self.actor = await self.context.access.authenticate(self.request.headers)
            self.check_rate()

    def check_rate(self) -> None:
        """Raises RateLimitedError if the client sends too many requests."""
        trusted = self.context.settings.trusted_proxies
        forwarded_for = self.request.headers.get("X-Forwarded-For", "") if trusted else ""
        self.context.rates.check(client_address(self.request.remote_ip or "", forwarded_for, trusted))


class NotFoundHandler(Handler):
    """Serves every path without a route: 404."""

    async def prepare(self) -> None:
        await super().prepare()
        under_api = self.request.path == API or self.request.path.startswith(f"{API}/")
        raise NotFoundError("API route not found" if under_api else None)
