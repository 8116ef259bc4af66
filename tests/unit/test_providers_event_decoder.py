"""The event-stream decoder: chunks of any size give the same events."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.body_decoder import BodyDecoder, JsonDecoder
from chatserver.providers.event_decoder import EventStreamDecoder, ServerEvent
from chatserver.providers.pictures import MAX_PICTURE_BYTES, TooLongError


def read(chunks: list[bytes], max_line_bytes: int = 1_000_000) -> list[str]:
    reader = EventStreamDecoder(max_line_bytes)
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return [event.data for event in events + reader.end()]


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
        (b"\n\xef\xbb\xbfdata: a\n\n", []),  # within the stream a BOM is part of a field's name
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


# --- names of events, and bare lines -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"event: x\ndata: a\n\ndata: b\n\n", [ServerEvent("a", "x"), ServerEvent("b")]),
        (b"data: a\nevent:x\n\n", [ServerEvent("a", "x")]),
        (b"event: x\n\ndata: b\n\n", [ServerEvent("b")]),
        (b"event: error\n\n", [ServerEvent("", "error")]),
        (b"event: error", [ServerEvent("", "error")]),
        (b'{"error": 1}\ndata: a\n\n', [ServerEvent('{"error": 1}'), ServerEvent("a")]),
        (b'data: a\n\n{"error": 1}', [ServerEvent("a"), ServerEvent('{"error": 1}')]),
    ],
)
def test_event_has_its_name(stream: bytes, events: list[ServerEvent]) -> None:
    decoder = EventStreamDecoder(1_000)
    assert decoder.feed(stream) + decoder.end() == events


# --- bodies of JSON -------------------------------------------------------------------------------------------


def body(*chunks: bytes) -> tuple[str | None, list[str]]:
    decoder = BodyDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return decoder.kind, [event.data for event in events + decoder.end()]


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize(
    ("data", "kind", "events"),
    [
        (b"\xef\xbb\xbf{ \xe2\x82\xac }", "json", ["{ € }"]),
        (b' \r\n\t{"a":\n1}\n', "json", ['{"a":\n1}']),
        (b'[\n{"a":1},\n{"a":2}\n]', "json", ['[\n{"a":1},\n{"a":2}\n]']),
        (b'{"a":1}\n\n{"a":2}\r\n{"a":3}', "json", ['{"a":1}', '{"a":2}', '{"a":3}']),
        (b"\xef\xbb\xbf\n\ndata: {}\n\n", "stream", ["{}"]),
        (b"\xef\xbb\xbfdata: a\n\n", "stream", ["a"]),
        (b": x\n\ndata: 1\n\n", "stream", ["1"]),
        (b"", None, []),
        (b"\xef\xbb\xbf \n", None, []),
        (b"\xef\xbb", None, []),
    ],
)
def test_first_byte_tells_what_the_body_is(size: int, data: bytes, kind: str | None, events: list[str]) -> None:
    what, became = body(*(data[i : i + size] for i in range(0, len(data), size)))
    assert (what, [event.strip() for event in became]) == (kind, events)


def test_lines_of_json_are_events_as_they_come() -> None:
    decoder = BodyDecoder()
    assert decoder.feed(b'{"a"') == []
    assert decoder.feed(b":1}") == [ServerEvent('{"a":1}')]
    assert decoder.feed(b'\n{"a"') == []
    assert decoder.feed(b':2}\n{"a":3}\n{') == [ServerEvent('{"a":2}'), ServerEvent('{"a":3}')]
    assert decoder.end() == [ServerEvent("{")]


def test_body_is_an_event_as_soon_as_it_is_complete() -> None:
    decoder = BodyDecoder()
    assert decoder.feed(b'{"a":\n{"b": 1}') == []
    assert decoder.feed(b"\n} ") == [ServerEvent('{"a":\n{"b": 1}\n} ')]
    assert decoder.feed(b"\n") + decoder.end() == []


def test_endless_blanks_before_a_body_are_not_kept() -> None:
    decoder = BodyDecoder()
    for _ in range(100):
        assert decoder.feed(b" " * 100_000) == []
    assert vars_of(decoder) < 1_000
    assert decoder.feed(b"{}") + decoder.end() == [ServerEvent("{}")]


def vars_of(decoder: BodyDecoder) -> int:
    return len(repr([getattr(decoder, name) for name in BodyDecoder.__slots__]))


def test_too_long_body_is_refused() -> None:
    decoder = JsonDecoder(max_bytes=12)
    decoder.feed(b'{"a": "xxxx')
    with pytest.raises(TooLongError):
        decoder.feed(b"xxx")


# --- pictures in events that are too long -------------------------------------------------------------------------

BASE64 = b"iVBORw0KGgo+/_-" * 20
PICTURES = [
    b'{"a":"x","url":"data:image/png;base64,%s","b":"y"}',
    b'{"a":"x","b64_json": "%s","b":"y"}',
    b'{"a":"x","source":{"type":"base64","data":"%s"},"b":"y"}',
    b'{"a":"![x](data:image/png;base64,%s)","b":"y"}',
    b'{"a":"x","anything":"%s","b":"y"}',
]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("data", [BASE64, BASE64.replace(b"/", b"\\/"), b"UklGR" * 15 + b"\\n" + b"B" * 70])
def test_picture_in_a_long_event_is_passed_over(size: int, picture: bytes, data: bytes) -> None:
    whole = picture % data
    short = (picture % b"").decode()
    stream = b"data: " + whole + b"\n\ndata: next\n\n"
    events = read([stream[i : i + size] for i in range(0, len(stream), size)], max_line_bytes=140)
    first = events[0]
    assert events[1:] == ["next"]
    assert first.startswith(short[: short.index('"b":') - 3])
    assert first.endswith('"b":"y"}')
    decoder = JsonDecoder(max_bytes=140)
    became = [event for i in range(0, len(whole), size) for event in decoder.feed(whole[i : i + size])]
    assert [json.loads(event.data)["b"] for event in became] == ["y"]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("line", [b'data: {"content":"%s"}\n\n', b"data: %s\n\n", b'data: {"data":"a b%s"}\n\n'])
def test_long_text_is_no_picture(size: int, line: bytes) -> None:
    stream = line % (b"VBORw0KGgo" * 100)
    with pytest.raises(TooLongError):
        read([stream[i : i + size] for i in range(0, len(stream), size)], max_line_bytes=140)


def test_endless_picture_is_refused() -> None:
    decoder = EventStreamDecoder(1_000)
    decoder.feed(b'data: {"url":"data:image/png;base64,')
    filling = b"A" * 65_536
    with pytest.raises(TooLongError):
        list(map(decoder.feed, [filling] * (2 * MAX_PICTURE_BYTES // len(filling))))


def test_pictures_in_the_lines_of_a_long_event_take_less_than_2_seconds() -> None:
    """Each of them makes the event too long, and is taken out."""
    decoder = EventStreamDecoder(1_048_576)
    picture = b"data: ;base64," + b"A" * 9_000 + b"\n"
    begun = time.process_time()
    decoder.feed(b"data: " + b"x" * 1_040_000 + b"\n")
    for _ in range(900):
        decoder.feed(picture)
    [event] = decoder.feed(b"\n")
    assert time.process_time() - begun < 2
    assert event.data == "x" * 1_040_000 + "\n;base64," * 900
