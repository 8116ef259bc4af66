"""Responses to requests that never reach a handler, because they are not well-formed or do not arrive in time.

They look like those of the handlers: JSON, an id, the headers that all responses have, and one line of the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http.client import responses
from typing import NamedTuple

from chatserver import logs
from chatserver.ids import new_request_id
from chatserver.schemas import Error

# No page of another site may show a response as its own picture, script or frame, or keep a hold on the window of our
# page. No site is told the address of a conversation. A browser that shows a response as a page runs nothing in it.
ISOLATION_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; frame-ancestors 'none'",
}
"""Headers of all responses; only the page's own files have another policy. Pages of `allowed_origins` are not affected:
they read by CORS, not by embedding."""

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]{1,2000})")


class Refusal(NamedTuple):
    """Why a request is refused."""

    status: int
    message: str


MALFORMED = Refusal(400, "Malformed HTTP request")
MALFORMED_BODY = Refusal(400, "Malformed chunked body")
HEAD_TOO_LARGE = Refusal(431, "Request headers are too large")
HEAD_TOO_SLOW = Refusal(408, "The request took too long to arrive")


class RequestLine(NamedTuple):
    """Method and target as far as they can be told; both are empty if they cannot."""

    method: str
    path: str


def parse_request_line(line: bytes) -> RequestLine:
    """A request line that may be malformed or incomplete. The query is left out: it may be private."""
    match = _REQUEST_LINE.match(line)
    if match is None:
        return RequestLine("", "")
    return RequestLine(match[1].decode(), match[2].decode().partition("?")[0])


def refuse(refusal: Refusal, line: RequestLine, seconds: float) -> bytes:
    """Log the refusal of a request that took so long to arrive, and give the bytes of its response."""
    request_id = new_request_id()
    before = logs.request_id.set(request_id)
    logs.log_request(line.method, line.path, refusal.status, seconds, served=False)
    logs.request_id.reset(before)
    body = Error(error=refusal.message).model_dump_json(exclude_none=True).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Request-Id": request_id,
        "Connection": "close",
        **ISOLATION_HEADERS,
    }
    head = f"HTTP/1.1 {refusal.status} {responses[refusal.status]}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode() + b"\r\n" + (b"" if line.method == "HEAD" else body)
