"""Frames and ids are read back unchanged, by the rules that browsers follow."""

from __future__ import annotations

import json
import re
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatserver import sse
from chatserver.sse import EventId, parse_event_id
from tests.kit.event_stream import EventSource, Message

RUN = UUID("0190a5f3-7b1c-7def-8abc-0123456789ab")
ID = "0190a5f37b1c7def8abc0123456789ab.1.2.3"

numbers = st.integers(0, 999_999_999)
event_ids = st.builds(EventId, st.uuids(), numbers, numbers, numbers) | st.builds(
    EventId, st.uuids(), numbers, st.none(), st.none()
)
# Line ends of every kind, of SSE and of Unicode; what JSON escapes; what looks like a field; a byte order mark.
awkward = st.sampled_from(["\r", "\n", "\r\n", "\n\n", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"]) | (
    st.sampled_from(['"', "\\", "\0", "\x1f", "\x7f", "\ufeff", "data: x", "\nid: 1\n\n", ": ping\n\n", "😀", "é", " "])
)
texts = st.lists(awkward | st.text(max_size=5), max_size=8).map("".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
datas = st.dictionaries(texts, json_values, max_size=4)


# --- ids --------------------------------------------------------------------------------------------------


@given(event_ids)
def test_id_is_read_back(event_id: EventId) -> None:
    assert parse_event_id(str(event_id)) == event_id
    assert event_id.terminal == str(event_id).endswith(".end")


@given(event_ids, event_ids)
def test_different_ids_are_written_differently(one: EventId, other: EventId) -> None:
    assert (str(one) == str(other)) == (one == other)


def test_documented_example_is_an_id() -> None:
    assert parse_event_id(ID) == EventId(RUN, 1, 2, 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1",
        "end",
        "null",
        ID + "\n",
        ID + "\r\n",
        "\n" + ID,
        ID + " ",
        " " + ID,
        ID + "\0",
        ID + ".4",
        ID + ".end",
        ID + "x",
        ID[:-1],
        ID[:-2],
        ID + "end",
        ID.upper(),
        ID.replace("a", "A", 1),
        ID[1:],
        "0" + ID,
        str(RUN) + ".1.2.3",
        "{" + str(RUN) + "}.1.2.3",
        ID.replace(".2.", ".\u0662."),  # Arabic-Indic two
        ID.replace(".2.", ".\uff12."),  # full-width two
        ID.replace(".2.", ".\u00b2."),  # superscript two
        "\u0660" + ID[1:],
        ID.replace(".2.", ".-2."),
        ID.replace(".2.", ".+2."),
        ID.replace(".2.", ".2_0."),
        ID.replace(".2.", ". 2."),
        ID.replace(".2.", ".2e3."),
        ID.replace(".2.", ".1234567890."),
        ID.replace(".1.", ".1234567890."),
        ID + "0" * 9,
        ID + "9" * 10_000,
        ID.replace(".", ".."),
        ID.replace(".", ","),
        "g" + ID[1:],
        RUN.hex + ".1.END",
        RUN.hex + ".1.end\n",
        RUN.hex + ".1.end.3",
        RUN.hex + ".end",
        RUN.hex + ".1.2.end",
        "\ud800" + ID[1:],
        "../" * 10,
        "'; DROP TABLE chat_runs; --",
    ],
)
def test_foreign_id_is_read_as_none(text: str) -> None:
    assert parse_event_id(text) is None


@given(event_ids.map(str), st.data())
def test_id_that_is_read_is_written_back_alike(written: str, data: st.DataObject) -> None:
    """A damaged id is None, or is written back as the same text, except for leading zeros."""
    at = data.draw(st.integers(0, len(written)))
    piece = data.draw(st.text(max_size=2) | st.sampled_from([".", "0", "٣", "\n", "end", ".end"]))
    text = written[:at] + piece + written[at + data.draw(st.integers(0, 2)) :]
    event_id = parse_event_id(text)
    if event_id is not None:
        assert re.sub(r"\.0+(?=[0-9])", ".", text) == str(event_id)


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert parse_event_id(text) is None


# --- frames -----------------------------------------------------------------------------------------------


@given(event_ids, datas)
@example(EventId(RUN, 1, 2, 3), {"type": "error", "error": "a\u2028b\u2029c\x85d"})
def test_event_is_one_frame_that_is_read_back(event_id: EventId, data: dict[str, object]) -> None:
    frame = sse.event(event_id, data)
    assert one_message(frame) == (str(event_id), data)


@given(event_ids, st.sampled_from(["token", "reasoning"]), texts)
@example(EventId(RUN, 1, 2, 3), "token", 'a\u2028b\rc\nd\r\ne"f\\g😀\n\n')
def test_text_event_is_the_same_frame_as_event(event_id: EventId, kind: str, content: str) -> None:
    frame = sse.text_event(event_id, kind, content)
    assert one_message(frame) == (str(event_id), {"type": kind, "content": content})
    assert frame == sse.event(event_id, {"type": kind, "content": content})


@given(st.uuids(), numbers, numbers, numbers, st.sampled_from(["token", "reasoning"]), texts | st.text(min_size=800))
@example(RUN, 1, 2, 3, "token", "x" * 2_000)
@example(RUN, 1, 2, 3, "token", "é" * 500)
def test_text_chunk_is_the_chunk_of_the_text_event(
    run_id: UUID, epoch: int, seq: int, chars: int, kind: str, content: str
) -> None:
    frame = sse.text_event(EventId(run_id, epoch, seq, chars), kind, content)
    assert sse.text_chunk(sse.text_name(run_id, epoch), seq, chars, kind, content) == sse.chunk(frame)


def one_message(frame: bytes) -> tuple[str, object]:
    """The id and data of a frame, which is one block: an `id:` line, one `data:` line, an empty line, and no more."""
    lines = frame.split(b"\n")
    assert [line.partition(b":")[0] for line in lines] == [b"id", b"data", b"", b""]
    # Python clients cut at all that `str.splitlines` takes for a line's end.
    assert frame.decode().splitlines() == frame.decode().split("\n")[:-1]
    source = EventSource()
    messages = source.feed(frame)
    assert [(message.type, message.last_event_id) for message in messages] == [("message", source.last_event_id)]
    return source.last_event_id, json.loads(messages[0].data)


@given(st.lists(st.tuples(event_ids, texts), max_size=5))
def test_frames_and_pings_are_read_in_sequence(events: list[tuple[EventId, str]]) -> None:
    stream = sse.OK
    for event_id, content in events:
        stream += sse.text_event(event_id, "token", content) + sse.PING
    messages = EventSource().feed(stream)
    assert [(message.last_event_id, json.loads(message.data)["content"]) for message in messages] == [
        (str(event_id), content) for event_id, content in events
    ]


@given(event_ids)
def test_opening_sets_id_and_retry_and_dispatches_nothing(event_id: EventId) -> None:
    stream = sse.opening(event_id)
    assert stream.startswith(b":ok\n\n")
    source = EventSource(last_event_id="before")
    assert source.feed(stream) == []
    assert (source.last_event_id, source.retry_ms) == (str(event_id), 1_000)


def test_come_back_sets_retry_only() -> None:
    patience = set()
    for _ in range(2_000):
        source = EventSource(last_event_id=ID)
        assert source.feed(sse.come_back()) == []
        assert source.last_event_id == ID
        assert source.retry_ms is not None
        patience.add(source.retry_ms)
    assert min(patience) >= 1_000
    assert max(patience) <= 5_000
    # random over the whole range: 2,000 draws practically never leave out a quarter of it
    assert min(patience) < 2_000
    assert max(patience) > 4_000
    assert len(patience) > 1_000


@pytest.mark.parametrize("comment", [sse.OK, sse.PING])
def test_comment_dispatches_nothing(comment: bytes) -> None:
    source = EventSource(last_event_id=ID)
    assert comment.startswith(b":")
    assert source.feed(comment) == []
    assert source == EventSource(last_event_id=ID)


# --- the parser itself, by the examples of its source -----------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_parser_reads_the_examples_of_the_standard(end: str) -> None:
    def feed(*lines: str) -> list[Message]:
        return EventSource().feed("".join(line + end for line in lines).encode())

    assert feed("data: YHOO", "data: +2", "data: 10", "") == [Message("message", "YHOO\n+2\n10", "")]
    third = ": test stream", "", "data: first event", "id: 1", "", "data:second event", "id", "", "data:  third event"
    assert feed(*third, "") == [
        Message("message", "first event", "1"),
        Message("message", "second event", ""),
        Message("message", " third event", ""),
    ]
    assert feed("data", "", "data", "data", "", "data:") == [Message("message", "", ""), Message("message", "\n", "")]
    assert feed("data:test", "", "data: test", "") == [Message("message", "test", "")] * 2
    assert feed("event: add", "data: 73857293", "") == [Message("add", "73857293", "")]
