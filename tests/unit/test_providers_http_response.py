"""HTTP responses are decoded, however their bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.http_response import MAX_HEAD_BYTES, MalformedResponseError, ResponseDecoder

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

# The response, its status, its body, and whether the body is complete before the connection is closed.
RIGHT = {
    "until the end": (OK + b"\r\nab\r\n", 200, b"ab\r\n", False),
    "of a length": (OK + b"Content-Length: 3\r\n\r\nabcd", 200, b"abc", True),
    "of a length, in other case": (OK + b"content-length:  3 \r\n\r\nabc", 200, b"abc", True),
    "of a length that is given twice": (OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc", True),
    "empty": (OK + b"Content-Length: 0\r\n\r\nabc", 200, b"", True),
    "in chunks": (CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, b"abc", True),
    "in a chunk of size A": (CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", 200, b"0123456789", True),
    "in chunks that hold line ends": (CHUNKED + b"4\r\n\r\n\r\n\r\n2\r\n0\n\r\n0\r\n\r\n", 200, b"\r\n\r\n0\n", True),
    "in chunks with extensions": (CHUNKED + b'1;a="b"\r\na\r\n1 ; c\r\nb\r\n0;d\r\n\r\n', 200, b"ab", True),
    "in chunks with a trailer": (CHUNKED + b"1\r\na\r\n0\r\nX: y\r\n\r\n", 200, b"a", True),
    "in chunks with bare line feeds": (CHUNKED + b"1\na\n0\n\n", 200, b"a", True),
    "without a head's carriage returns": (b"HTTP/1.1 200 OK\nContent-Length: 1\n\na", 200, b"a", True),
    "after empty lines": (b"\r\n" + OK + b"Content-Length: 1\r\n\r\na", 200, b"a", True),
    "after interim responses": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + CHUNKED + b"0\r\n\r\n",
        200,
        b"",
        True,
    ),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nab", 200, b"ab", False),
    "of an error": (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}", 429, b"{}", True),
    "without a reason": (b"HTTP/1.1 500 \r\n\r\n", 500, b"", False),
    "that has none": (b"HTTP/1.1 204 No Content\r\n\r\nab", 204, b"", True),
}
WRONG = {
    "no HTTP": b"this is not HTTP\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "no header": OK + b"X\r\n\r\n",
    "lengths that differ": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length that is no number": OK + b"Content-Length: x\r\n\r\n",
    "a negative length": OK + b"Content-Length: -1\r\n\r\n",
    "an absurd length": OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
    "a length beside chunks": OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a chunk without a size": CHUNKED + b"\r\nab\r\n",
    "a chunk of size x": CHUNKED + b"x\r\nab\r\n",
    "a chunk of size 0x1": CHUNKED + b"0x1\r\na\r\n",
    "a chunk of size -1": CHUNKED + b"-1\r\na\r\n",
    "a chunk of an absurd size": CHUNKED + b"1" * 16 + b"\r\n",
    "a chunk that is too long": CHUNKED + b"1\r\nab\r\n",
    "an endless size": CHUNKED + b"1;" + b"a" * 300,
    "an endless head": OK + b"X: " + b"a" * MAX_HEAD_BYTES,
    "a long head": OK + b"X: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
    "endless interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 11,
}


def decode(pieces: list[bytes]) -> tuple[int, bytes, bool]:
    decoder = ResponseDecoder()
    body = b"".join(map(decoder.feed, pieces))
    assert decoder.has_head
    return decoder.status, body, decoder.complete


@pytest.mark.parametrize("name", RIGHT)
def test_response_is_decoded_however_it_is_cut(name: str) -> None:
    data, *right = RIGHT[name]
    assert [*decode([data])] == right
    assert [*decode([data[i : i + 1] for i in range(len(data))])] == right


@given(st.data())
def test_response_cut_anywhere_becomes_the_same(draw: st.DataObject) -> None:
    data, *right = RIGHT[draw.draw(st.sampled_from(sorted(RIGHT)))]
    edges = [0, *sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=4))), len(data)]
    assert [*decode([data[a:b] for a, b in itertools.pairwise(edges)])] == right


def refuses(pieces: list[bytes]) -> bool:
    decoder = ResponseDecoder()
    try:
        for piece in pieces:
            decoder.feed(piece)
    except MalformedResponseError:
        return True
    return False


@pytest.mark.parametrize("name", WRONG)
def test_malformed_response_is_refused(name: str) -> None:
    data = WRONG[name]
    assert refuses([data])
    assert refuses([data[i : i + 1] for i in range(len(data))])


@pytest.mark.parametrize(
    ("data", "complete"),
    [
        (OK + b"\r\na", True),
        (OK + b"\r\n", True),
        (OK, False),
        (b"", False),
        (CHUNKED + b"1\r\na\r\n", False),
        (OK + b"Content-Length: 2\r\n\r\na", False),
    ],
)
def test_closed_connection_ends_only_a_body_without_a_frame(data: bytes, complete: bool) -> None:
    decoder = ResponseDecoder()
    decoder.feed(data)
    decoder.end()
    assert decoder.complete == complete


def test_headers_are_found_in_any_case() -> None:
    decoder = ResponseDecoder()
    decoder.feed(b"HTTP/1.1 429 X\r\nretry-after: 7\r\n\r\n")
    assert (decoder.status, decoder.headers.get("Retry-After")) == (429, "7")
