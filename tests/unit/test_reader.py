"""Whenever a client comes, leaves and comes back, it has the text of the answer: nothing twice, nothing missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chatserver import sse
from chatserver.live.journal import MOST_BYTES, NEWEST_FRAMES, REPLAY_CHARS, Journal
from chatserver.live.outcomes import Ended, Stored
from chatserver.live.reader import BATCH_FRAMES, Reader
from chatserver.live.replay import read_end, read_stored
from chatserver.live.terminal_events import done_event, end_of_stored, error_event, stopped_event
from chatserver.live.waiting import show_stored
from chatserver.providers.base import Usage
from chatserver.sse import NO_EPOCH, EventId, parse_event_id
from tests.kit.event_stream import EventSource, Viewer

RUN, OTHER_RUN = UUID(int=1), UUID(int=2)
MESSAGE = UUID(int=3)
# Longer than anything here takes, on a busy machine, too. Nothing waits for it unless a test fails.
PATIENCE_SECONDS = 20.0

pieces = st.text(st.sampled_from('ab\r\n\u2028"\\é😀'), min_size=1, max_size=4)
DONE = done_event(MESSAGE, Usage(3, 4), "stop")


def join(journal: Journal, resume: EventId | None = None, *, reset: bool = False, lags: bool = False) -> Reader:
    return Reader.join(journal, resume, reset=reset, lags=lags, on_close=lambda: None)


def take(reader: Reader, limit: int = BATCH_FRAMES) -> list[bytes]:
    """The next frames that the reader can take now, without the header of their chunk."""
    chunks = reader.take(limit)
    assert len(chunks) <= limit
    assert sum(map(len, chunks)) <= MOST_BYTES
    return [sse.unchunk(chunk) for chunk in chunks]


def take_all(reader: Reader) -> list[bytes]:
    """All frames that the reader can take now."""
    taken: list[bytes] = []
    while frames := take(reader):
        taken.extend(frames)
    return taken


def follow(reader: Reader, viewer: Viewer) -> None:
    """Show the viewer the opening, and all frames that the reader can take now."""
    viewer.see(reader.opening)
    viewer.see(b"".join(take_all(reader)))


@dataclass(frozen=True)
class Place:
    """The state of a client after an event: with it the client can come back, to any process."""

    last_id: str
    text: str
    thoughts: str

    def viewer(self) -> Viewer:
        return Viewer(self.text, self.thoughts, source=EventSource(self.last_id))


class Client:
    """A client with an EventSource."""

    def __init__(self, place: Place | None = None) -> None:
        self.viewer = Viewer() if place is None else place.viewer()
        self.reader: Reader | None = None

    @property
    def place(self) -> Place:
        return Place(self.viewer.source.last_event_id, self.viewer.text, self.viewer.thoughts)

    def connect(self, journal: Journal, *, lags: bool = False) -> None:
        came_with = self.viewer.source.last_event_id
        resume = parse_event_id(came_with) if came_with else None
        self.reader = join(journal, resume, reset=bool(came_with) and resume is None, lags=lags)
        self.reader.follow(lambda: None)
        self.viewer.see(self.reader.opening)

    def cut(self) -> None:
        assert self.reader is not None
        self.reader.close()
        self.reader = None


class Answer(RuleBasedStateMachine):
    """A writer, and clients that come, read, are cut between any two frames, and come back.

    Each time they come to the process that generates the answer, or to another one that follows it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal(RUN, 1)
        self.copy = Journal(RUN, 1)
        self.text = self.thoughts = ""
        self.all_thoughts_were_copied = True
        self.clients: list[Client] = []
        self.places: list[Place] = []

    def pick(self, data: st.DataObject, *, connected: bool) -> Client | None:
        candidates = [client for client in self.clients if (client.reader is not None) == connected]
        return data.draw(st.sampled_from(candidates)) if candidates else None

    def remember(self, client: Client) -> None:
        if not client.viewer.ends:
            self.places.append(client.place)

    # --- the writer

    @precondition(lambda self: not self.journal.ended)
    @rule(piece=pieces)
    def token(self, piece: str) -> None:
        self.journal.append_token(piece)
        self.text += piece

    @precondition(lambda self: not self.journal.ended)
    @rule(piece=pieces)
    def reasoning(self, piece: str) -> None:
        self.journal.append("reasoning", [piece])
        self.thoughts += piece

    @precondition(lambda self: not self.journal.ended)
    @rule(piece=pieces, count=st.integers(BATCH_FRAMES - 1, NEWEST_FRAMES + 1))
    def many_tokens(self, piece: str, count: int) -> None:
        for _ in range(count):
            self.token(piece)

    @precondition(lambda self: not self.journal.ended)
    @rule(other_run=st.booleans())
    def reset(self, other_run: bool) -> None:
        if other_run:
            self.journal.reset(UUID(int=self.journal.run_id.int + 1), 1)
        else:
            self.journal.reset(self.journal.run_id, self.journal.epoch + 1)
        self.text = self.thoughts = ""

    @precondition(lambda self: not self.journal.ended and self.journal.events > 5)
    @rule()
    def end(self) -> None:
        """The other process finds what it has not copied in the stored answer: the text alone, cut otherwise."""
        self.begin_copy_anew()
        self.all_thoughts_were_copied = self.copy.reasoning == self.thoughts
        self.journal.end(DONE)
        show_stored(self.copy, self.stored())
        self.copy.end(DONE)

    def stored(self) -> Stored:
        return Stored(self.journal.run_id, self.journal.epoch, MESSAGE, self.text, False, False, Usage(3, 4), "stop")

    # --- the other process

    def begin_copy_anew(self) -> None:
        if (self.copy.run_id, self.copy.epoch) != (self.journal.run_id, self.journal.epoch):
            self.copy.reset(self.journal.run_id, self.journal.epoch)

    @precondition(lambda self: not self.journal.ended)
    @rule(chars=st.sampled_from([1, 5, 1_000_000]))
    def copy_some(self, chars: int) -> None:
        self.begin_copy_anew()
        texts, seq = self.journal.texts_since(self.copy.seq, chars)
        for kind, contents in texts:
            self.copy.append(kind, contents)
        assert self.copy.seq == seq

    # --- the clients

    def connect(self, client: Client, *, elsewhere: bool) -> None:
        client.connect(self.copy if elsewhere else self.journal, lags=elsewhere)
        self.remember(client)

    @rule(elsewhere=st.booleans())
    def come(self, elsewhere: bool) -> None:
        self.clients.append(client := Client())
        self.connect(client, elsewhere=elsewhere)

    @rule(data=st.data(), frames=st.integers(0, 3) | st.just(BATCH_FRAMES))
    def read_and_perhaps_be_cut(self, data: st.DataObject, frames: int) -> None:
        """See only the first frames of a batch; the others are lost with the connection."""
        client = self.pick(data, connected=True)
        if client is None:
            return
        assert client.reader is not None
        batch = take(client.reader)
        for frame in batch[:frames]:
            client.viewer.see(frame)
            self.remember(client)
        if len(batch) > frames:
            client.cut()
        else:
            assert client.reader.at_end == bool(client.viewer.ends)

    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        if (client := self.pick(data, connected=True)) is not None:
            client.cut()

    @rule(data=st.data(), elsewhere=st.booleans())
    def come_back(self, data: st.DataObject, elsewhere: bool) -> None:
        client = self.pick(data, connected=False)
        if client is not None and not client.viewer.ends:
            self.connect(client, elsewhere=elsewhere)

    @precondition(lambda self: self.places)
    @rule(data=st.data(), elsewhere=st.booleans())
    def come_back_from_any_place(self, data: st.DataObject, elsewhere: bool) -> None:
        self.clients.append(client := Client(data.draw(st.sampled_from(self.places))))
        self.connect(client, elsewhere=elsewhere)

    @rule(
        last_id=st.sampled_from(["", "nonsense", "7"])
        | st.builds(
            EventId,
            st.sampled_from([UUID(int=99), UUID(int=2**128 - 1)]),
            st.integers(0, 3),
            st.integers(0, 9),
            st.integers(0, 9),
        ).map(str),
        shown=pieces,
        elsewhere=st.booleans(),
    )
    def come_with_a_foreign_id(self, last_id: str, shown: str, elsewhere: bool) -> None:
        self.clients.append(client := Client(Place(last_id, shown if last_id else "", "")))
        self.connect(client, elsewhere=elsewhere)

    # --- what holds

    @invariant()
    def the_journal_says_what_was_written(self) -> None:
        assert self.journal.text == self.text

    def teardown(self) -> None:
        if not self.journal.ended:
            self.end()
        for client in self.clients:
            if client.viewer.ends:
                assert client.viewer.text == self.text
                continue
            if client.reader is None:
                client.connect(self.journal)
            self.finish(client)
        for place in dict.fromkeys(self.places):
            for elsewhere in (False, True):
                client = Client(place)
                client.connect(self.copy if elsewhere else self.journal, lags=elsewhere)
                self.finish(client)
        self.stored_answers()

    def finish(self, client: Client) -> None:
        assert client.reader is not None
        client.viewer.see(b"".join(take_all(client.reader)))
        assert client.reader.at_end
        assert client.reader.take() == []
        assert client.viewer.text == self.text
        if self.all_thoughts_were_copied:
            assert client.viewer.thoughts == self.thoughts
        assert client.viewer.ends == [DONE]
        last_id = client.viewer.last_id
        assert last_id is not None
        assert last_id.terminal

    def stored_answers(self) -> None:
        """Every event id that was handed out resumes the stored answer, too."""
        stored = self.stored()
        for place in dict.fromkeys(self.places):
            own = (last_id := parse_event_id(place.last_id)) and last_id[:2] == (stored.run_id, stored.epoch)
            for edited in (False, True):
                answer = replace(stored, edited=True, text="edited since") if edited else stored
                viewer = place.viewer()
                resume_stored(answer, viewer)
                assert viewer.text == answer.text
                assert viewer.ends == [end_of_stored(answer)]
                assert viewer.resets == (0 if (own and not edited) or not place.last_id else 1)


def resume_stored(stored: Stored, viewer: Viewer, cut_after: int | None = None) -> None:
    """Read a stored answer from the viewer's place: to its end, or so many frames."""
    came_with = viewer.source.last_event_id
    resume = parse_event_id(came_with) if came_with else None
    reader = read_stored(stored, resume, reset=bool(came_with) and resume is None)
    viewer.see(reader.opening)
    frames = take_all(reader)
    assert reader.at_end
    viewer.see(b"".join(frames[:cut_after]))


Answer.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
TestAnswer = Answer.TestCase


# --- journals that are still empty ------------------------------------------------------------------------


@given(st.lists(pieces, max_size=6), st.integers(0, 6), st.booleans(), st.data())
def test_event_id_of_an_answer_of_another_process_is_judged_later(
    answer: list[str], had: int, edited: bool, data: st.DataObject
) -> None:
    """Nothing of the answer comes here until it is stored. Then only the missing part is sent."""
    owners, ours, viewer = Journal(RUN, 2), Journal(RUN, 2), Viewer()
    resumed = join(owners)
    resumed.follow(lambda: None)
    for piece in answer:
        owners.append_token(piece)
    viewer.see(resumed.opening)
    for frame in take(resumed)[:had]:
        viewer.see(frame)

    place = Place(viewer.source.last_event_id, viewer.text, "")
    reader = join(ours, viewer.last_id, lags=True)
    viewer.see(reader.opening)
    assert viewer.source.last_event_id == place.last_id
    assert reader.take() == []
    frames: list[bytes] = []
    reader.follow(lambda: frames.extend(take_all(reader)))
    if edited:
        ours.reset(RUN, 2)
    text = "edited since" if edited else "".join(answer)
    ours.append_token(text)
    frames += take_all(reader)  # a reader may take what is there at each event
    ours.end(DONE)
    frames += take_all(reader)
    cut = data.draw(st.integers(0, len(frames)))
    viewer.see(b"".join(frames[:cut]))
    if cut < len(frames):
        resume_stored(Stored(RUN, 2, MESSAGE, text, edited, False, Usage(3, 4), "stop"), viewer)
    assert (viewer.text, viewer.ends) == (text, [DONE])
    if not edited:
        assert viewer.resets == 0


def test_long_answer_of_another_process_comes_in_batches() -> None:
    text = "x" * (REPLAY_CHARS * (2 * BATCH_FRAMES) + 5)
    ours = Journal(RUN, 1)
    viewer = Viewer(text="xxx", source=EventSource(str(EventId(RUN, 1, 1, 3))))
    reader = join(ours, viewer.last_id, lags=True)
    ours.append_token(text)
    ours.end(DONE)
    while not reader.at_end:
        frames = take(reader)
        assert frames
        viewer.see(b"".join(frames))
    assert (viewer.text == text, viewer.ends) == (True, [DONE])


@pytest.mark.parametrize("end", [stopped_event(None), error_event("timeout", "Too slow")])
def test_answer_of_another_process_that_fails_shows_its_end(end: dict[str, Any]) -> None:
    ours = Journal(RUN, 1)
    viewer = Viewer(text="abc", source=EventSource(str(EventId(RUN, 1, 2, 3))))
    reader = join(ours, viewer.last_id, lags=True)
    ours.end(end)
    follow(reader, viewer)
    assert (viewer.text, viewer.ends, viewer.resets) == ("abc", [end], 0)


def test_answer_of_another_process_that_is_taken_over_resets() -> None:
    ours = Journal(RUN, 1)
    viewer = Viewer(text="abc", source=EventSource(str(EventId(RUN, 1, 2, 3))))
    reader = join(ours, viewer.last_id, lags=True)
    viewer.see(reader.opening)
    reader.follow(lambda: viewer.see(b"".join(take_all(reader))))
    ours.reset(RUN, 2)
    assert (viewer.text, viewer.resets) == ("", 1)
    ours.append_token("x")
    assert (viewer.text, viewer.resets, viewer.last_id) == ("x", 1, EventId(RUN, 2, 1, 1))


# --- resets -----------------------------------------------------------------------------------------------


@given(st.integers(0, 4))
def test_cut_during_a_reset_resets_again(seen: int) -> None:
    """Otherwise a client that lost the reset on the way would keep its old text before the new."""
    journal = Journal(RUN, 1)
    journal.append_token("a")
    journal.append_token("b")
    viewer = Viewer(text="other", source=EventSource("foreign"))
    reader = join(journal, reset=True)
    viewer.see(reader.opening)
    for frame in take_all(reader)[:seen]:
        viewer.see(frame)
    assert viewer.last_id is not None
    assert (viewer.last_id.epoch == NO_EPOCH) == (seen == 0)
    again = join(journal, viewer.last_id)
    follow(again, viewer)
    assert (viewer.text, viewer.resets) == ("ab", 1)


# --- stored answers ---------------------------------------------------------------------------------------


def stored_answer(text: str, *, edited: bool = False, kept: bool = False) -> Stored:
    return Stored(RUN, 1, MESSAGE, text, edited, kept, Usage(3, 4), None if kept else "stop")


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("text", ["", "abc", "é😀" * REPLAY_CHARS])
def test_stored_answer_is_replayed(text: str, kept: bool) -> None:
    viewer = Viewer()
    resume_stored(stored_answer(text, kept=kept), viewer)
    assert viewer.text == text
    assert viewer.ends == ([stopped_event(MESSAGE)] if kept else [DONE])
    assert viewer.resets == 0


@given(st.integers(0, 3 * REPLAY_CHARS), st.lists(st.integers(0, 4), max_size=4))
@settings(max_examples=30)
def test_replay_resumes_wherever_it_was_cut(chars: int, cuts: list[int]) -> None:
    text = ("0123456789é😀" * REPLAY_CHARS)[:chars]
    viewer = Viewer()
    for cut in cuts:
        if not viewer.ends:
            resume_stored(stored_answer(text), viewer, cut)
    if not viewer.ends:
        resume_stored(stored_answer(text), viewer)
    assert (viewer.text == text, viewer.ends, viewer.resets) == (True, [DONE], 0)


@pytest.mark.parametrize(
    "resume",
    [
        EventId(OTHER_RUN, 1, 1, 1),
        EventId(RUN, 2, 1, 1),
        EventId(RUN, NO_EPOCH, 0, 0),
        EventId(RUN, 1, 1, 4),
        EventId(RUN, 1, 1, 999_999_999),
        EventId(RUN, 1, None, None),
    ],
)
def test_event_id_of_another_text_resets_a_stored_answer(resume: EventId) -> None:
    viewer = Viewer(text="shown")
    follow(read_stored(stored_answer("abc"), resume), viewer)
    assert (viewer.text, viewer.resets, viewer.ends) == ("abc", 1, [DONE])


def test_answer_edited_while_it_is_read_is_reset() -> None:
    viewer = Viewer()
    long = "x" * (3 * REPLAY_CHARS)
    resume_stored(stored_answer(long), viewer, 2)
    assert len(viewer.text) == 2 * REPLAY_CHARS
    resume_stored(stored_answer("y" * len(long), edited=True), viewer, 2)
    assert viewer.text == "y" * REPLAY_CHARS
    resume_stored(stored_answer("z", edited=True), viewer)
    assert (viewer.text, viewer.ends) == ("z", [DONE])


def test_usage_and_stop_reason_are_replayed() -> None:
    assert end_of_stored(stored_answer("a")) == {
        "type": "done",
        "messageId": str(MESSAGE),
        "usage": {"inputTokens": 3, "outputTokens": 4},
        "stopReason": "stop",
    }
    uncounted = end_of_stored(replace(stored_answer("a"), usage=None))
    assert (uncounted["usage"], uncounted["stopReason"]) == (None, "stop")


@pytest.mark.parametrize(
    ("ended", "end"),
    [
        (Ended(RUN, 1, "stopped"), {"type": "stopped", "messageId": None}),
        (
            Ended(RUN, 1, "failed", "timeout", "Too slow"),
            {"type": "error", "error": "Too slow", "code": "timeout", "retryable": True},
        ),
        (
            Ended(RUN, 1, "failed", "unauthorized", "Refused"),
            {"type": "error", "error": "Refused", "code": "unauthorized", "retryable": False},
        ),
        (
            Ended(RUN, 1, "failed"),
            {"type": "error", "error": "The answer failed", "code": "internal", "retryable": True},
        ),
    ],
)
def test_client_back_at_a_run_without_an_answer_gets_its_end(ended: Ended, end: dict[str, Any]) -> None:
    viewer = Viewer(text="abc")
    resume = EventId(RUN, 1, 2, 3)
    reader = read_end(ended, resume)
    assert sse.opening(resume) == reader.opening
    follow(reader, viewer)
    assert reader.at_end
    assert (viewer.text, viewer.ends, viewer.resets) == ("abc", [end], 0)
    assert viewer.last_id == EventId(RUN, 1, None, None)


# --- being called -----------------------------------------------------------------------------------------


def test_follower_is_called_for_each_frame_until_the_reader_is_closed() -> None:
    journal, calls = Journal(RUN, 1), []
    reader = join(journal)
    journal.append_token("a")
    reader.follow(lambda: calls.append(reader.behind))
    assert calls == []
    assert reader.behind
    journal.append_token("b")
    assert len(take_all(reader)) == 1
    assert not reader.behind
    journal.append("reasoning", ["c"])
    journal.end(DONE)
    assert calls == [True, True, True]
    reader.close()
    assert not reader.at_end
    journal.reset(RUN, 2)
    assert len(calls) == 3


def test_close_is_told_once() -> None:
    left: list[bool] = []
    reader = Reader.join(Journal(RUN, 1), None, reset=False, lags=False, on_close=lambda: left.append(True))
    reader.follow(lambda: None)
    reader.close()
    reader.close()
    assert left == [True]


@given(st.lists(st.integers(1, 2 * REPLAY_CHARS), max_size=12), st.integers(1, BATCH_FRAMES), st.booleans())
def test_batch_is_bounded_in_frames_and_bytes(lengths: list[int], limit: int, followed: bool) -> None:
    journal, viewer = Journal(RUN, 1), Viewer()
    reader = join(journal)
    if followed:
        reader.follow(lambda: None)
    for length in lengths:
        journal.append_token("\x01" * length)
    while frames := take(reader, limit):
        viewer.see(b"".join(frames))
    assert len(viewer.text) == sum(lengths)


def test_stored_answer_is_read_without_a_call() -> None:
    reader = read_stored(stored_answer("abc"))
    while reader.behind:
        assert reader.take()
    assert reader.at_end
    reader.close()


@pytest.mark.parametrize(
    ("resume", "text"),
    [(None, ""), (None, "ab"), (EventId(OTHER_RUN, 1, 1, 1), "ab"), (EventId(RUN, 1, 1, 1), "")],
    ids=str,
)
def test_answer_without_a_terminal_event_ends_behind_all_that_was_said(resume: EventId | None, text: str) -> None:
    journal, viewer, told = Journal(RUN, 1), Viewer("a" if resume else ""), list[None]()
    reader = join(journal, resume, lags=True)
    reader.follow(lambda: told.append(None))
    for piece in text:
        journal.append_token(piece)
    assert not reader.at_end
    told.clear()
    journal.end(None)
    assert (len(told), reader.at_end, journal.ended) == (1, not reader.behind, False)
    follow(reader, viewer)
    assert reader.at_end
    assert (viewer.ends, viewer.resets) == ([], int(resume is not None and resume.run_id != RUN))
