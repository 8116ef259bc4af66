"""The event-stream decoder: chunks of any size give the same events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.event_decoder import EventStreamDecoder, TooLongError, WholeBodyDecoder


def read(chunks: list[bytes], max_line_bytes: int = 1_000_000) -> list[str]:
    reader = EventStreamDecoder(max_line_bytes)
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events + reader.end()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data:a\n\n", ["a"]),
        (b"data:  a\n\n", [" a"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data: a\ndata\ndata: b\n\n", ["a\n\nb"]),
        (b": ping\n\ndata: a\n: ping\n\n:\n\n", ["a"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", ["a"]),
        (b"data: [DONE]\n\n", ["[DONE]"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"\n\xef\xbb\xbfdata: a\n\n", []),  # a BOM anywhere else is part of a field's name
        (b"data: a\n\ndata: b", ["a", "b"]),  # the end is missing
        (b"data: a\n\ndata: b\n", ["a", "b"]),
        (b"data:\n\ndata\n\ndata: a\n\n", ["a"]),
        (b"dataset: a\n\ndata : b\n\n", []),
        (b"data: \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n\n", ["ä€😀"]),
        (b"data: \xff\n\n", ["�"]),
        (b"", []),
    ],
)
def test_stream_is_decoded_as_the_standard_says(stream: bytes, events: list[str]) -> None:
    assert read([stream]) == events
    assert read([stream[i : i + 1] for i in range(len(stream))]) == events


LINES = st.sampled_from(
    ["data: ä😀", "data:x", "data", "data:", ": c", "event: e", "", "", "\ufeffdata: y", "junk", "data: {}"]
)
ENDINGS = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(st.tuples(LINES, ENDINGS)), st.lists(st.integers(min_value=0)))
def test_any_chunks_give_the_same_events(lines: list[tuple[str, str]], places: list[int]) -> None:
    stream = "".join(line + ending for line, ending in lines).encode()
    assert read(cut(stream, places)) == read([stream])


@given(st.binary(), st.lists(st.integers(min_value=0)))
def test_any_bytes_are_decoded(stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places)) == read([stream])


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1)),
    st.lists(st.integers(min_value=0)),
)
def test_encoded_events_are_decoded(contents: list[str], places: list[int]) -> None:
    stream = "".join(f"data: {content}\n\n" for content in contents).encode()
    assert read(cut(stream, places)) == contents


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 60,  # a line without end
        b"data: a\n\ndata: " + b"x" * 60 + b"\n\n",
        b"data: " + b"x" * 60 + b"\n\ndata: a\n\n",
        b"data: xxxxxxxx\n" * 8,  # an event without end
        b"data\n" * 80,
    ],
)
def test_too_long_line_or_event_is_refused(stream: bytes, size: int) -> None:
    with pytest.raises(TooLongError):
        read([stream[i : i + size] for i in range(0, len(stream), size)], max_line_bytes=50)


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_stream_may_be_longer_than_the_bound_of_a_line(size: int) -> None:
    stream = (b"data: " + b"x" * 44 + b"\n\n") * 5
    assert read([stream[i : i + size] for i in range(0, len(stream), size)], max_line_bytes=50) == ["x" * 44] * 5


def test_whole_body_is_one_event() -> None:
    reader = WholeBodyDecoder(max_bytes=12)
    assert reader.feed(b"\xef\xbb\xbf{ \xe2\x82") == []
    assert reader.feed(b"\xac }") == []
    assert reader.end() == ["{ € }"]
    with pytest.raises(TooLongError):
        reader.feed(b"xxx")
