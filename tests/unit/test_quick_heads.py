"""A head that is read in one step is understood as Tornado understands it; all others are left to Tornado."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPInputError, parse_request_start_line

from chatserver.web.http.quick_connection import parse
from chatserver.web.http.request_heads import normalise

HOST = b"Host: localhost\r\n"


def by_tornado(data: bytes) -> object:
    """What the ordinary way makes of a head: start line and headers; None if it is refused."""
    text = data[: data.index(b"\r\n\r\n") + 4].decode("latin1")
    line, _, fields = text.partition("\n")
    try:
        headers = HTTPHeaders.parse(fields)
        start_line = normalise(parse_request_start_line(line.rstrip("\r")), headers)
    except HTTPInputError:
        return None
    return start_line, sorted(headers.get_all())


def check(data: bytes) -> bool:
    """Whether the data is read in one step; then in the same way as by Tornado."""
    request = parse(data)
    if request is None:
        return False
    assert (request.start_line, sorted(request.headers.get_all())) == by_tornado(data)
    for name in request.headers:
        assert request.headers.get(name.lower()) == request.headers[name]
    assert request.headers.get("X-Missing") is None
    return True


NAMES = st.sampled_from(
    ["Host", "host", "Content-Length", "Cookie", "X", "x-y", "Accept", "Connection", "A B", "", "É"]
)
VALUES = st.sampled_from(["localhost", "0", "5", " x ", "\t", "", "a\tb", "é", "a, b", "\x00", "\x7f", "a\rb", "close"])
LINES = st.tuples(NAMES, st.sampled_from([":", ": ", ":\t ", " :", ""]), VALUES, st.sampled_from(["\r\n"] * 5 + ["\n"]))
TARGETS = st.sampled_from(["/", "/a?b=c", "/é", "*", "http://localhost/", "", "/a b", "//x", "/%zz", "/" + "a" * 99])
METHODS = st.sampled_from(["GET", "POST", "BREW", "get", "G T", "", "X" * 20])
VERSIONS = st.sampled_from(["HTTP/1.1"] * 5 + ["HTTP/1.0", "HTTP/2.0", ""])


@given(METHODS, TARGETS, VERSIONS, st.lists(LINES, max_size=5), st.booleans())
def test_head_is_read_as_by_tornado(
    method: str, target: str, version: str, lines: list[tuple[str, ...]], with_host: bool
) -> None:
    fields = "".join("".join(line) for line in lines)
    head = f"{method} {target} {version}\r\n{'Host: localhost' + chr(13) + chr(10) if with_host else ''}{fields}\r\n"
    check(head.encode("latin1") + b"x" * 9 + b"\r\n\r\n")


@given(st.binary(max_size=40), st.integers(0, 60))
def test_head_with_odd_bytes_is_read_as_by_tornado(odd: bytes, at: int) -> None:
    head = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Accept: text/html\r\n\r\n"
    check(head[:at] + odd + head[at:] + b"\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"BREW /pot?a=b HTTP/1.1\r\n" + HOST + b"Cookie: a=b\r\nCookie: c=d\r\nX:\r\nY: \xe4\tb \r\n\r\n",
        b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    ],
)
def test_usual_request_is_read_in_one_step(head: bytes) -> None:
    assert check(head)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\n" + HOST,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\n" + HOST + b"\r\n",
        b"GET http://localhost/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b" a: b\r\n\r\n",
        b"GET /?" + b"&" * 1_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"1" * 5_000 + b"\r\n\r\nabc",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    ],
)
def test_unusual_or_incomplete_request_is_left_to_tornado(data: bytes) -> None:
    assert parse(data) is None


def test_what_follows_a_request_is_kept_apart() -> None:
    first = b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
    request = parse(first + b"GET /b")
    assert request is not None
    assert (request.body, request.rest) == (b"abc", b"GET /b")
