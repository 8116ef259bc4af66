"""A journal only grows, holds the text of the answer, and knows for each of its event ids where reading goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chatserver.live import journal as journal_module
from chatserver.live.journal import MOST_BYTES, NEWEST_FRAMES, REPLAY_CHARS, Journal, Kind
from chatserver.sse import NO_EPOCH, EventId, chunk, parse_event_id, rest_of, unchunk
from tests.kit.event_stream import EventSource, Viewer
from tests.kit.sizes import held_bytes

RUN, OTHER_RUN = UUID(int=1), UUID(int=2)

pieces = st.text(min_size=1, max_size=6)
writes = st.lists(
    st.tuples(st.just("token"), pieces) | st.tuples(st.sampled_from(["reasoning", "reset"]), pieces), max_size=20
)


def write(journal: Journal, kind: str, piece: str) -> None:
    match kind:
        case "token":
            journal.append_token(piece)
        case "reasoning":
            journal.append("reasoning", [piece])
        case "reset":
            journal.reset(journal.run_id, journal.epoch + 1)


def read(journal: Journal, cursor: int = 0, limit: int = 1_000_000) -> list[bytes]:
    """All frames behind the cursor, as an event stream has them."""
    frames: list[bytes] = []
    while cursor < journal.events:
        chunks, cursor = journal.frames_since(cursor, limit)
        assert 0 < len(chunks) <= limit
        frames += map(unchunk, chunks)
    return frames


def data_of(frame: bytes) -> Any:
    (message,) = EventSource().feed(frame)
    return json.loads(message.data)


def no_reader() -> None:
    """Takes nothing: as long as it is there, the newest events are kept one by one."""


def test_new_journal_is_empty() -> None:
    journal = Journal(RUN, 1)
    assert (journal.text, journal.chars, journal.events, journal.start, journal.ended) == ("", 0, 0, 0, False)
    assert journal.frames_since(0, 10) == ([], 0)
    assert journal.start_id == EventId(RUN, 1, 0, 0)
    assert journal.place_of(journal.start_id) == (0, 0)


@given(writes)
def test_frames_of_a_journal_hold_its_text(script: list[tuple[str, str]]) -> None:
    journal, expected, thoughts = Journal(RUN, 1), "", ""
    for kind, piece in script:
        write(journal, kind, piece)
        expected = "" if kind == "reset" else expected + piece * (kind == "token")
        thoughts = "" if kind == "reset" else thoughts + piece * (kind == "reasoning")
        assert (journal.text, journal.chars, journal.reasoning) == (expected, len(expected), thoughts)
    from_the_first, from_the_start = Viewer(), Viewer()
    from_the_first.see(b"".join(read(journal)))
    from_the_start.see(b"".join(read(journal, journal.start)))
    assert from_the_first.text == from_the_start.text == expected
    assert from_the_first.thoughts == from_the_start.thoughts
    assert from_the_start.resets == 0


@given(writes)
def test_event_id_gives_the_cursor_behind_it(script: list[tuple[str, str]]) -> None:
    """`chars` is the length of the text with that event, `seq` its number within its epoch; a reset is number 0."""
    journal, viewer, ids = Journal(RUN, 1), Viewer(), []
    for kind, piece in script:
        cursor = journal.events
        write(journal, kind, piece)
        viewer.see(b"".join(read(journal, cursor)))
        event_id = viewer.last_id
        assert event_id == EventId(RUN, journal.epoch, journal.events - journal.start, len(viewer.text))
        ids.append(event_id)
    for cursor, event_id in enumerate(ids, 1):
        assert journal.place_of(event_id) == ((cursor, 0) if event_id.epoch == journal.epoch else None)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "event_id",
    [
        EventId(OTHER_RUN, 2, 3, 0),
        EventId(RUN, 1, 3, 0),
        EventId(RUN, 3, 3, 0),
        EventId(RUN, NO_EPOCH, 3, 0),
        EventId(RUN, 2, None, None),
        EventId(RUN, 2, 5, 2),  # not yet written
        EventId(RUN, 2, 2, 2),
        EventId(RUN, 2, 999_999_999, 999_999_999),
    ],
)
def test_event_id_of_another_text_gives_no_place(event_id: EventId) -> None:
    journal = Journal(RUN, 1)
    journal.append_token("dropped")
    journal.reset(RUN, 2)
    journal.append_token("a")
    journal.append("reasoning", ["b"])
    places = [journal.place_of(EventId(RUN, 2, seq, chars)) for seq, chars in ((0, 0), (1, 1), (2, 1))]
    assert places == [(2, 0), (3, 0), (4, 0)]
    assert journal.place_of(event_id) is None


@given(writes, st.data())
def test_event_of_a_text_that_was_cut_otherwise_is_found_by_its_characters(
    script: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Another process that has the stored answer cuts its end into other events, with other numbers."""
    journal = Journal(RUN, 1)
    for kind, piece in script:
        write(journal, kind, piece)
    chars = data.draw(st.integers(0, journal.chars))
    seq = data.draw(st.integers(0, journal.events + 3))
    place = journal.place_of(EventId(RUN, journal.epoch, seq, chars))
    assert place is not None
    cursor, seen = place
    assert cursor >= journal.start
    frames = read(journal, cursor)
    if seen:
        frames[0] = rest_of(frames[0], seen)
    viewer = Viewer()
    viewer.see(b"".join(frames))
    assert viewer.text == journal.text[chars:]


@given(writes, writes, st.booleans())
def test_texts_of_a_journal_make_the_same_journal_elsewhere(
    before: list[tuple[str, str]], after: list[tuple[str, str]], has_reader: bool
) -> None:
    """Event by event, whatever is taken at once."""
    journal, copy = Journal(RUN, 1), Journal(RUN, 1)
    if has_reader:
        journal.add_waker(no_reader)
    for script, max_chars in ((before, 3), (after, 1_000_000)):
        for kind, piece in script:
            write(journal, kind, piece)
        if copy.epoch != journal.epoch:
            copy.reset(RUN, journal.epoch)
        while copy.seq < journal.seq:
            texts, seq = journal.texts_since(copy.seq, max_chars)
            for kind_of_pieces, pieces in texts:
                copy.append(kind_of_pieces, pieces)
            assert copy.seq == seq
    for seq in range(journal.seq + 1):
        assert journal.texts_since(seq, 1_000_000) == copy.texts_since(seq, 1_000_000)
    assert (copy.text, copy.reasoning, copy.seq) == (journal.text, journal.reasoning, journal.seq)


def test_reset_may_change_the_run() -> None:
    journal = Journal(RUN, 7)
    journal.append_token("dropped")
    journal.reset(OTHER_RUN, 1)
    assert journal.start_id == EventId(OTHER_RUN, 1, 0, 0)
    assert (journal.run_id, journal.epoch, journal.start, journal.text) == (OTHER_RUN, 1, 2, "")


def test_terminal_event_is_appended_once() -> None:
    journal = Journal(RUN, 1)
    journal.append_token("a")
    journal.end({"type": "done"})
    with pytest.raises(AssertionError):
        journal.end({"type": "error"})
    viewer = Viewer()
    viewer.see(b"".join(read(journal)))
    assert viewer.ends == [{"type": "done"}]
    assert viewer.last_id == EventId(RUN, 1, None, None)
    assert journal.ended


def test_terminal_event_that_cannot_be_encoded_is_not_appended() -> None:
    """Afterwards another one can be appended."""
    journal = Journal(RUN, 1)
    with pytest.raises(UnicodeEncodeError):
        journal.end({"type": "error", "error": "\ud800"})
    assert (journal.ended, journal.events) == (False, 0)


@given(st.text(min_size=1, max_size=3), st.integers(0, 3) | st.integers(REPLAY_CHARS - 1, 3 * REPLAY_CHARS + 1))
def test_long_text_is_cut_into_pieces(unit: str, chars: int) -> None:
    text = (unit * chars)[:chars]
    journal = Journal(RUN, 1, chars=17)
    journal.append_token(text)
    assert journal.events == -(-len(text) // REPLAY_CHARS)
    viewer = Viewer()
    for frame in read(journal):
        seen = len(viewer.text)
        viewer.see(frame)
        assert 0 < len(viewer.text) - seen <= REPLAY_CHARS
        assert viewer.last_id is not None
        assert viewer.last_id.chars == 17 + len(viewer.text)
    assert viewer.text == journal.text == text
    assert journal.chars == len(text)


def test_piece_that_cannot_be_encoded_is_not_appended() -> None:
    journal = Journal(RUN, 1)
    journal.append_token("a")
    with pytest.raises(UnicodeEncodeError):
        journal.append_token("\ud800")
    journal.append_token("b")
    assert (journal.text, journal.chars, journal.events) == ("ab", 2, 2)


def test_frames_that_were_handed_out_do_not_change() -> None:
    journal = Journal(RUN, 1)
    journal.add_waker(no_reader)
    journal.append_token("a")
    before, _ = journal.frames_since(0, 10)
    journal.append_token("b")
    assert len(before) == 1


def test_newest_events_come_one_by_one() -> None:
    journal = Journal(RUN, 1)
    journal.add_waker(no_reader)
    for number in range(NEWEST_FRAMES):
        journal.append_token(str(number))
    assert len(read(journal)) == NEWEST_FRAMES
    journal.append_token("one more")
    assert len(read(journal)) == 1
    assert len(read(journal, 1)) == NEWEST_FRAMES
    chunks, cursor = journal.frames_since(10, 2)
    assert [data_of(unchunk(taken))["content"] for taken in chunks] == ["10", "11"]
    assert cursor == 12


def test_complete_stretch_is_encoded_once_for_all_readers() -> None:
    """However late they come, and however many they are."""
    journal = Journal(RUN, 1)
    for _ in range(3 * REPLAY_CHARS // 4):
        journal.append_token("word")
    first, cursor = journal.frames_since(0, 2)
    assert len(first) == 2
    second, _ = journal.frames_since(0, 2)
    assert cursor == 2 * REPLAY_CHARS // 4
    assert all(one is other for one, other in zip(first, second, strict=True))


def test_reset_forgets_what_came_before() -> None:
    """A reader that stood there goes on with the reset."""
    journal = Journal(RUN, 1)
    journal.add_waker(no_reader)
    journal.append_token("dropped" * REPLAY_CHARS)
    journal.reset(RUN, 2)
    journal.append_token("a")
    assert held_bytes(journal) < 4_000
    for cursor in range(journal.start):
        assert [data_of(frame)["type"] for frame in read(journal, cursor)] == ["reset", "token"]


def test_time_of_thinking_ends_with_the_next_piece_of_the_answer() -> None:
    now = 100.0
    journal = Journal(RUN, 1, clock=lambda: now)
    kinds: list[Kind] = ["token", "reasoning", "reasoning", "token", "reasoning"]
    seen = []
    for later, kind in enumerate(kinds, start=1):
        journal.append(kind, ["a"])
        now += later
        seen.append(journal.thought_seconds)
    assert seen == [0, 2, 5, 5, 10]
    journal.reset(RUN, 2)
    assert journal.thought_seconds == 0


def test_each_append_wakes_every_reader_once() -> None:
    journal = Journal(RUN, 1)
    woken: list[str] = []
    wakers: list[Callable[[], None]] = [lambda: woken.append("one"), lambda: woken.append("two")]
    for wake in wakers:
        journal.add_waker(wake)
        journal.add_waker(wake)
    journal.append_token("a")
    assert sorted(woken) == ["one", "two"]
    journal.append("reasoning", ["b"])
    journal.reset(RUN, 2)
    journal.append_token("x" * (REPLAY_CHARS + 1))
    journal.append("token", ["c"] * 50)
    journal.remove_waker(wakers[0])
    journal.remove_waker(wakers[0])
    journal.end({"type": "done"})
    assert (woken.count("one"), woken.count("two")) == (5, 6)


@given(st.lists(st.tuples(st.sampled_from(["token", "reasoning"]), st.lists(pieces, max_size=4)), max_size=8))
@example([("token", ["a", "b" * (2 * REPLAY_CHARS + 1), "c"]), ("reasoning", []), ("token", ["d"])])
def test_pieces_that_are_appended_together_are_events_as_if_appended_alone(
    batches: list[tuple[Any, list[str]]],
) -> None:
    together, alone = Journal(RUN, 1), Journal(RUN, 1)
    for journal in (together, alone):
        journal.add_waker(no_reader)
    for kind, batch in batches:
        together.append(kind, batch)
        for piece in batch:
            write(alone, kind, piece)
        assert read(together) == read(alone)


# --- what it costs ----------------------------------------------------------------------------------------


def pieces_of(unit: str) -> list[str]:
    return [unit] * (100_000 // len(unit.encode()))


@pytest.mark.parametrize("thinks", [False, True])
@pytest.mark.parametrize(
    ("pieces", "times"),
    [
        (pieces_of("word"), 1.7),
        (pieces_of("漢字仮名"), 1.4),
        (pieces_of("😀😁😂🤣"), 1.4),
        (["wo😀d", *pieces_of("word")], 1.7),
        (pieces_of('a\n"b'), 2.2),
        (pieces_of("x"), 3.3),
    ],
    ids=["ascii", "chinese", "emoji", "one emoji", "escapes", "single letters"],
)
def test_answer_takes_little_more_memory_than_its_text(pieces: list[str], times: float, thinks: bool) -> None:
    journal = Journal(RUN, 1)
    for kind in ("reasoning", "token") if thinks else ("token",):
        for piece in pieces:
            write(journal, kind, piece)
    text_bytes = len("".join(pieces).encode()) * (2 if thinks else 1)
    assert held_bytes(journal) < times * text_bytes
    if not thinks:
        assert journal.text == "".join(pieces)
    journal.end({"type": "done"})
    assert held_bytes(journal) < times * text_bytes


@pytest.mark.parametrize("piece", ["x", "word" * 1_000, "\x01" * REPLAY_CHARS])
def test_newest_events_take_bounded_memory(piece: str) -> None:
    """It is given back when the last reader leaves."""
    read_by_one, read_by_nobody = Journal(RUN, 1), Journal(RUN, 1)
    read_by_one.add_waker(no_reader)
    for kind in ["token"] * 300 + ["token", "reasoning"] * 3:
        write(read_by_one, kind, piece)
        write(read_by_nobody, kind, piece)
    per_frame = sys.getsizeof(b"") + 2 * 8
    least = held_bytes(read_by_nobody)
    assert least < held_bytes(read_by_one) < least + MOST_BYTES + NEWEST_FRAMES * per_frame + 1_000
    read_by_one.remove_waker(no_reader)
    assert held_bytes(read_by_one) <= least


# --- whatever is written, and whoever reads ---------------------------------------------------------------


@dataclass
class Event:
    """What the journal was asked to append; for a reset or an end `content` is empty."""

    type: str
    content: str
    id: EventId


class Journaled(RuleBasedStateMachine):
    """A journal with tiny bounds: readers with any cursor get each event once, in order, alone or joined."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(journal_module, "REPLAY_CHARS", 5)
        self.patch.setattr(journal_module, "NEWEST_FRAMES", 3)
        self.patch.setattr(journal_module, "MOST_BYTES", 400)
        self.journal = Journal(RUN, 1)
        self.events: list[Event] = []
        self.cursors: list[int] = []

    def teardown(self) -> None:
        self.patch.undo()

    def note(self, kind: str, content: str, chars: int | None) -> None:
        seq = None if chars is None else len(self.events) + 1 - self.journal.start
        self.events.append(Event(kind, content, EventId(self.journal.run_id, self.journal.epoch, seq, chars)))

    @precondition(lambda self: not self.journal.ended)
    @rule(kind=st.sampled_from(["token", "token", "reasoning"]), text=st.text("ab\n\u2028é😀", min_size=1, max_size=12))
    def append(self, kind: str, text: str) -> None:
        chars = self.journal.chars
        write(self.journal, kind, text)
        for at in range(0, len(text), 5):
            piece = text[at : at + 5]
            chars += len(piece) if kind == "token" else 0
            self.note(kind, piece, chars)

    @precondition(lambda self: not self.journal.ended)
    @rule()
    def reset(self) -> None:
        write(self.journal, "reset", "")
        self.note("reset", "", 0)

    @precondition(lambda self: not self.journal.ended and len(self.events) > 8)
    @rule()
    def end(self) -> None:
        self.journal.end({"type": "done"})
        self.note("done", "", None)

    @rule(comes=st.booleans())
    def wake(self, comes: bool) -> None:
        (self.journal.add_waker if comes else self.journal.remove_waker)(no_reader)

    @rule()
    def come(self) -> None:
        self.cursors.append(self.journal.start)

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        """With the id of an event that was sent, alone or as the last of several."""
        seq = data.draw(st.integers(1, len(self.events)))
        event_id = self.events[seq - 1].id
        place = self.journal.place_of(event_id)
        if event_id.terminal or seq < self.journal.start:
            assert place is None
        else:
            assert place == (seq, 0)
            self.cursors.append(seq)

    @precondition(lambda self: self.cursors)
    @rule(data=st.data(), limit=st.integers(1, 5))
    def take(self, data: st.DataObject, limit: int) -> None:
        reader = data.draw(st.integers(0, len(self.cursors) - 1))
        before = self.cursors[reader]
        chunks, after = self.journal.frames_since(before, limit)
        assert len(chunks) <= limit
        assert len(chunks) == 1 or sum(map(len, chunks)) <= 400
        assert bool(chunks) == (before < len(self.events))
        cursor = before
        for taken in chunks:
            cursor = self.check(cursor, taken)
        assert cursor == after
        self.cursors[reader] = after

    def check(self, cursor: int, taken: bytes) -> int:
        """A frame holds the events behind the cursor up to the one that its id names; the cursor behind that one."""
        frame = unchunk(taken)
        assert chunk(frame) == taken
        source = EventSource()
        (message,) = source.feed(frame)
        shown = parse_event_id(source.last_event_id)
        if cursor < self.journal.start and cursor < len(self.events):
            cursor = self.journal.start - 1  # a reset: what stands before it is skipped
        events = self.events[cursor:]
        last = next(at for at, event in enumerate(events) if event.id == shown)
        joined = events[: last + 1]
        data = json.loads(message.data)
        assert {event.type for event in joined} == {data["type"]}
        assert "".join(event.content for event in joined) == data.get("content", "")
        return cursor + len(joined)

    @invariant()
    def the_journal_says_what_was_written(self) -> None:
        tokens = [event for event in self.events[self.journal.start :] if event.type == "token"]
        assert self.journal.text == "".join(event.content for event in tokens)
        assert self.journal.chars == len(self.journal.text)
        assert self.journal.events == len(self.events)


Journaled.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestJournaled = Journaled.TestCase


def test_readers_that_are_equally_far_behind_share_what_is_joined_for_them() -> None:
    journal = Journal(RUN, 1)
    for _ in range(3):
        journal.append_token("x")
    (first,), behind = journal.frames_since(1, 64)
    assert journal.frames_since(1, 64)[0][0] is first
    assert (unchunk(first).count(b"xx"), behind) == (1, 3)
    journal.append_token("y")
    (more,), behind = journal.frames_since(1, 64)
    assert (unchunk(more).count(b"xxy"), behind) == (1, 4)
    assert len(journal.frames_since(1, 1)[0]) == 1
    journal.reset(RUN, 2)
    assert b"reset" in unchunk(journal.frames_since(1, 64)[0][0])
