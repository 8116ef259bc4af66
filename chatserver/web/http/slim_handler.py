"""Tornado's RequestHandler without what no handler of ours uses, and what costs more than all the rest of it.

For each request Tornado makes tools for templates, formats a date, checks headers that every response has, hashes the
body, and hands head and body down piece by piece. The class here leaves that out, and clients get the same bytes.

It touches these private parts of Tornado's: `_headers_written`, `_finished`, `_auto_finish`, `_prepared_future`,
`_headers`, `_write_buffer`, `_status_code` and `_reason`, which `RequestHandler.__init__` and `clear` set,
`_new_cookie`, `_should_not_send_content` and `_clear_representation_headers`; and `HTTPHeaders._as_list`. If Tornado's
methods are not those that are known here, which is noticed when this module is imported, they are used as they are.
"""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Callable, Sequence
from functools import lru_cache
from http.client import responses
from typing import Any, ClassVar

from tornado.httputil import HTTPHeaders, HTTPServerRequest, format_timestamp
from tornado.web import Application, OutputTransform, RequestHandler

from chatserver.web.handler_context import HandlerContext

_KNOWN_INIT = (
    "super __init__ application request _headers_written _finished _auto_finish _prepared_future ObjectDict "
    "ui_methods items ui _UIModuleNamespace ui_modules clear connection set_close_callback "
    "on_connection_close initialize"
)
_KNOWN_CLEAR = (
    "httputil HTTPHeaders tornado version format_timestamp time _headers set_default_headers _write_buffer "
    "_status_code responses _reason"
)
_KNOWN_FINISH = (
    "_finished RuntimeError write _headers_written _status_code request method _headers set_etag_header "
    "check_etag_header _write_buffer set_status _should_not_send_content _clear_representation_headers sum set_header "
    "connection set_close_callback flush finish _log on_finish _break_cycles"
)


def _is_known(method: Callable[..., Any], names: str) -> bool:
    """Whether a method of Tornado's uses these names and no others: then it does what it did when this was written."""
    return set(method.__code__.co_names) == set(names.split())


SUPPORTED = (
    _is_known(RequestHandler.__init__, _KNOWN_INIT)
    and _is_known(RequestHandler.clear, _KNOWN_CLEAR)
    and _is_known(RequestHandler.finish, _KNOWN_FINISH)
    and _is_known(HTTPHeaders.__setitem__, "_normalize_header _combined_cache _as_list")
)


class SlimHandler(RequestHandler):
    """A handler whose responses have `default_headers`, and no others unless they are set. Their names are written as
    Tornado writes them: `X-Frame-Options`."""

    default_headers: ClassVar[Sequence[tuple[str, str]]] = ()

    context: HandlerContext
    """Set by `initialize`."""

    # Tornado's `_execute`, which sets it, is not used.
    _transforms: list[OutputTransform] = []  # noqa: RUF012 (as in Tornado)

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        if not SUPPORTED:
            super().__init__(application, request, **kwargs)
            return
        self.application = application
        self.request = request
        self._headers_written = False
        self._finished = False
        self._auto_finish = True
        self._prepared_future = None
        self.clear()
        self._when_closed(self.on_connection_close)
        self.initialize(**kwargs)

    def clear(self) -> None:
        if not SUPPORTED:
            super().clear()
            self.clear_header("Server")
            self.clear_header("Content-Type")
            for name, value in self.default_headers:
                self._headers[name] = value
        else:
            self._headers = HTTPHeaders()
            # One by one they would cost more than all the rest here. The lists are new, since `add` changes them.
            self._headers._as_list = {
                "Date": [_date(int(time.time()))],
                **{name: [value] for name, value in self.default_headers},
            }
            self._write_buffer = []
            self._status_code = 200
            self._reason = responses[200]
        self.set_own_headers()

    def set_own_headers(self) -> None:
        """Set headers that every response has, with a value of its own."""

    def finish(self, chunk: str | bytes | dict[Any, Any] | None = None) -> Future[None]:
        """As in Tornado; but a response of which nothing was sent yet leaves at once if that is possible."""
        if chunk is not None:
            self.write(chunk)
        sent = None
        if SUPPORTED and not (self._headers_written or self._finished or hasattr(self, "_new_cookie")):
            self._frame()
            sent = self.context.fast_flush.respond(self, self._write_buffer)
        if sent is None:
            return super().finish()
        self._when_closed(None)
        self._write_buffer = []
        self._finished = True
        self.application.log_request(self)
        self.on_finish()
        return sent

    def _frame(self) -> None:
        """Have the headers say where the response ends, as Tornado does."""
        if self._should_not_send_content(self._status_code):
            if self._write_buffer:
                raise RuntimeError(f"a response with status {self._status_code} has no body")
            self._clear_representation_headers()
        elif "Content-Length" not in self._headers:
            self._headers["Content-Length"] = str(sum(map(len, self._write_buffer)))

    def _when_closed(self, callback: Callable[[], None] | None) -> None:
        assert self.request.connection is not None
        self.request.connection.set_close_callback(callback)  # type: ignore[attr-defined]


@lru_cache(4)
def _date(seconds: int) -> str:
    return format_timestamp(seconds)
