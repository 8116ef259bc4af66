"""The head of a request before anything is done with it: malformed ones are refused, different spellings made one."""

from __future__ import annotations

import re

from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine

from chatserver.web.http.body_limits import declared_bytes, has_body

# As many as Python's parser is asked to take by Tornado.
MAX_QUERY_PARAMETERS = 1_000

# RFC 9112, section 3.2.2: a proxy's form of the target. The authority ends before path and query.
_ABSOLUTE_FORM = re.compile(r"https?://(?P<authority>[^/?#]*)(?P<target>[/?].*)?", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9\-._~!$&'()*+;=%\[\]:]*")


def normalise(start_line: RequestStartLine, headers: HTTPHeaders) -> RequestStartLine:
    """Check a head, change `headers`, and give the start line to go on with.

    Raises HTTPInputError, whose text is for clients.

    The host of an absolute target replaces the `Host` header.
    """
    hosts = headers.get_list("Host")
    if len(hosts) > 1:
        raise HTTPInputError("Host is given more than once")
    if not hosts and start_line.version != "HTTP/1.0":
        raise HTTPInputError("Host is missing")
    target = start_line.path
    if not target.startswith("/") and (absolute := _ABSOLUTE_FORM.fullmatch(target)) is not None:
        headers["Host"] = absolute["authority"]
        target = absolute["target"] or "/"
        target = target if target.startswith("/") else f"/{target}"
        start_line = start_line._replace(path=target)
    if _HOST.fullmatch(headers.get("Host", "")) is None:
        raise HTTPInputError("Host is malformed")
    query = target.partition("?")[2]
    if query.count("&") >= MAX_QUERY_PARAMETERS:
        raise HTTPInputError(f"More than {MAX_QUERY_PARAMETERS:,} query parameters")
    _check_framing(headers)
    _normalise_expectation(start_line, headers)
    return start_line


def _check_framing(headers: HTTPHeaders) -> None:
    """What is ambiguous about the end of a body may be read otherwise by a proxy (RFC 9112, section 6.3)."""
    if "Transfer-Encoding" in headers:
        if "Content-Length" in headers:
            raise HTTPInputError("Content-Length and Transfer-Encoding are both given")
        if headers["Transfer-Encoding"].lower() != "chunked":
            raise HTTPInputError("Transfer-Encoding is not chunked")
    try:
        declared_bytes(headers)
    except ValueError as error:
        raise HTTPInputError(str(error)) from None


def _normalise_expectation(start_line: RequestStartLine, headers: HTTPHeaders) -> None:
    """Tornado knows `100-continue` in this spelling only; HTTP/1.0 has none, and without a body there is no point."""
    if "Expect" not in headers:
        return
    expected = headers.pop("Expect").lower()
    if expected == "100-continue" and start_line.version != "HTTP/1.0" and has_body(headers):
        headers["Expect"] = expected
