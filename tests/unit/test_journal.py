"""A journal only grows, holds the text of the answer, and knows for each of its event ids where reading goes on."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.live.journal import REPLAY_CHARS, Journal
from chatserver.sse import NO_EPOCH, EventId, unchunk
from tests.kit.event_stream import Viewer

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
            journal.append_reasoning(piece)
        case "reset":
            journal.reset(journal.run_id, journal.epoch + 1)


def everything(journal: Journal) -> list[bytes]:
    """All frames, without the header of their chunk."""
    return list(map(unchunk, journal.frames_since(0, len(journal))))


def test_new_journal_is_empty() -> None:
    journal = Journal(RUN, 1)
    assert (journal.text, journal.chars, len(journal), journal.start, journal.ended) == ("", 0, 0, 0, False)
    assert journal.frames_since(0, 10) == []
    assert journal.start_id == EventId(RUN, 1, 0, 0)
    assert journal.cursor_after(journal.start_id) == 0


@given(writes)
def test_frames_of_a_journal_hold_its_text(script: list[tuple[str, str]]) -> None:
    journal, expected = Journal(RUN, 1), ""
    for kind, piece in script:
        write(journal, kind, piece)
        expected = "" if kind == "reset" else expected + piece * (kind == "token")
        assert (journal.text, journal.chars) == (expected, len(expected))
    from_the_first, from_the_start = Viewer(), Viewer()
    from_the_first.see(b"".join(everything(journal)))
    from_the_start.see(b"".join(everything(journal)[journal.start :]))
    assert from_the_first.text == from_the_start.text == expected
    assert from_the_first.thoughts == from_the_start.thoughts
    assert from_the_start.resets == 0


@given(writes)
def test_event_id_gives_the_cursor_behind_it(script: list[tuple[str, str]]) -> None:
    """`chars` is the length of the text with that event, `seq` the cursor after it, within its own epoch."""
    journal, viewer, ids = Journal(RUN, 1), Viewer(), []
    for kind, piece in script:
        write(journal, kind, piece)
        viewer.see(everything(journal)[-1])
        event_id = viewer.last_id
        assert event_id == EventId(RUN, journal.epoch, len(journal), len(viewer.text))
        ids.append(event_id)
    for cursor, event_id in enumerate(ids, 1):
        assert journal.cursor_after(event_id) == (cursor if event_id.epoch == journal.epoch else None)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "event_id",
    [
        EventId(OTHER_RUN, 2, 3, 0),
        EventId(RUN, 1, 3, 0),
        EventId(RUN, 3, 3, 0),
        EventId(RUN, NO_EPOCH, 3, 0),
        EventId(RUN, 2, None, None),
        EventId(RUN, 2, 1, 0),  # before the reset
        EventId(RUN, 2, 5, 0),  # not yet written
        EventId(RUN, 2, 999_999_999, 0),
    ],
)
def test_event_id_of_another_epoch_gives_no_cursor(event_id: EventId) -> None:
    journal = Journal(RUN, 1)
    journal.append_token("dropped")
    journal.reset(RUN, 2)
    journal.append_token("a")
    journal.append_reasoning("b")
    assert [journal.cursor_after(EventId(RUN, 2, seq, 0)) for seq in (2, 3, 4)] == [2, 3, 4]
    assert journal.cursor_after(event_id) is None


def test_reset_may_change_the_run() -> None:
    journal = Journal(RUN, 7)
    journal.append_token("dropped")
    journal.reset(OTHER_RUN, 1)
    assert journal.start_id == EventId(OTHER_RUN, 1, 2, 0)
    assert (journal.run_id, journal.epoch, journal.start, journal.text) == (OTHER_RUN, 1, 2, "")


def test_terminal_event_is_appended_once() -> None:
    journal = Journal(RUN, 1)
    journal.append_token("a")
    journal.end({"type": "done"})
    with pytest.raises(AssertionError):
        journal.end({"type": "error"})
    viewer = Viewer()
    viewer.see(b"".join(everything(journal)))
    assert viewer.ends == [{"type": "done"}]
    assert viewer.last_id == EventId(RUN, 1, None, None)
    assert journal.ended


def test_terminal_event_that_cannot_be_encoded_is_not_appended() -> None:
    """Afterwards another one can be appended."""
    journal = Journal(RUN, 1)
    with pytest.raises(UnicodeEncodeError):
        journal.end({"type": "error", "error": "\ud800"})
    assert (journal.ended, len(journal)) == (False, 0)


@given(st.text(min_size=1, max_size=3), st.integers(0, 3) | st.integers(REPLAY_CHARS - 1, 3 * REPLAY_CHARS + 1))
def test_long_text_is_cut_into_pieces(unit: str, chars: int) -> None:
    text = (unit * chars)[:chars]
    journal = Journal(RUN, 1, chars=17)
    journal.append_text(text)
    assert len(journal) == -(-len(text) // REPLAY_CHARS)
    viewer = Viewer()
    for frame in everything(journal):
        seen = len(viewer.text)
        viewer.see(frame)
        assert 0 < len(viewer.text) - seen <= REPLAY_CHARS
        assert viewer.last_id is not None
        assert viewer.last_id.chars == 17 + len(viewer.text)
    assert viewer.text == journal.text == text
    assert journal.chars == len(text)


@given(st.integers(0, 10), st.integers(0, 12), st.integers(0, 12))
def test_frames_since_gives_what_follows_the_cursor(written: int, cursor: int, limit: int) -> None:
    journal = Journal(RUN, 1)
    for _ in range(written):
        journal.append_token("x")
    assert list(map(unchunk, journal.frames_since(cursor, limit))) == everything(journal)[cursor : cursor + limit]


def test_frames_that_were_handed_out_do_not_change() -> None:
    journal = Journal(RUN, 1)
    journal.append_token("a")
    before = journal.frames_since(0, 10)
    journal.append_token("b")
    assert len(before) == 1


def test_each_frame_wakes_every_reader() -> None:
    journal = Journal(RUN, 1)
    woken: list[str] = []
    wakers: list[Callable[[], None]] = [lambda: woken.append("one"), lambda: woken.append("two")]
    for wake in wakers:
        journal.add_waker(wake)
        journal.add_waker(wake)
    journal.append_token("a")
    assert sorted(woken) == ["one", "two"]
    journal.append_reasoning("b")
    journal.reset(RUN, 2)
    journal.append_text("x" * (REPLAY_CHARS + 1))
    journal.remove_waker(wakers[0])
    journal.remove_waker(wakers[0])
    journal.end({"type": "done"})
    assert (woken.count("one"), woken.count("two")) == (5, 6)
