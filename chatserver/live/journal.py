"""The events of one answer, append-only; no I/O.

A reader is an integer, its cursor, and is told of new events by a call. Replay and live are read the same way
(`frames_since`), so nothing falls between them, and a slow reader costs nobody anything. Frames are handed out as
chunks of HTTP (`sse.chunk`), encoded once for all readers.

While there are readers, the newest events are kept as they were sent, one frame each. All events are kept in stretches:
a stretch is a row of events that can be joined to one, with the id of the last. Of a complete stretch only its one
frame is kept, and where in it each event ended: a client that has a part of the stretch gets the rest. So an answer
takes little more memory than its text, and a client that comes late gets few large frames.

Events are numbered within their epoch, from 1 on. Number 0 is the place before the first one, where a `reset` leads. So
an event has the same id at every process that has it, whatever its readers were shown before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Literal
from uuid import UUID

from chatserver import sse
from chatserver.live.event_places import EventPlaces
from chatserver.live.fan_out import FanOut
from chatserver.sse import EventId

# The most characters of one event, and of one stretch.
REPLAY_CHARS = 8_192
# The most frames that are kept of the newest events.
NEWEST_FRAMES = 256
# The most bytes of these frames, and of frames that are handed out at once.
MOST_BYTES = 65_536

Kind = Literal["token", "reasoning"]
Texts = list[tuple[Kind, list[str]]]
"""Pieces of an answer and of its thinking, each an event, in their order."""


class Journal:
    """The events of one answer. `run_id` and `epoch` name its text in event ids.

    If the answer is begun anew (`reset`), the events before are forgotten; a reader whose cursor stands there goes on
    with the reset. New readers begin at `start`, behind it, and the numbers of events count from there. `chars`: how
    many characters of the answer stand before the first event. `clock` gives seconds.
    """

    __slots__ = (
        "__weakref__",
        "_chars",
        "_clock",
        "_first_char",
        "_first_cursor",
        "_has_readers",
        "_joined",
        "_joined_for",
        "_newest",
        "_newest_bytes",
        "_open",
        "_open_chars",
        "_open_ends",
        "_open_kind",
        "_places",
        "_readers",
        "_stretches",
        "_text_name",
        "_thinks_since",
        "_thought_seconds",
        "ended",
        "epoch",
        "events",
        "over",
        "run_id",
        "start",
    )

    def __init__(self, run_id: UUID, epoch: int, *, chars: int = 0, clock: Callable[[], float] = monotonic) -> None:
        self.start = 0
        self.over = False
        """Whether nothing follows."""
        self.ended = False
        """Whether it is over with its terminal event."""
        self.events: int
        """How many events there were: the cursor behind the last one."""
        self._clock = clock
        self._readers = FanOut()
        self._has_readers = False
        self._begin(run_id, epoch, chars, cursor=0)

    def _begin(self, run_id: UUID, epoch: int, chars: int, *, cursor: int) -> None:
        """Hold no events; the next one stands behind `cursor`."""
        self.run_id, self.epoch = run_id, epoch
        self._text_name = sse.text_name(run_id, epoch)
        self._first_char = self._chars = chars
        self._first_cursor = self.events = cursor
        self._places = EventPlaces(cursor, chars)
        self._open_ends = self._places.ends[-1]
        self._newest: list[bytes] = []
        self._newest_bytes = 0
        # The frames of the complete stretches.
        self._stretches: list[bytes] = []
        self._open_kind: Kind = "token"
        self._thinks_since: float | None = None
        self._thought_seconds = 0.0
        self._open = bytearray()
        self._open_chars = 0
        # What was joined last, and for what: readers that have fallen behind together ask for the same.
        self._joined_for: tuple[int, int, int] | None = None
        self._joined: tuple[Sequence[bytes], int] = [], 0

    # --- writing ------------------------------------------------------------------------------------------

    def append_token(self, content: str) -> None:
        """Append a piece of the answer. Nothing, if it is empty."""
        self.append("token", (content,) if content else ())

    def append(self, kind: Kind, pieces: Iterable[str]) -> None:
        """Append pieces, each as one event; in several if it has more than REPLAY_CHARS characters.

        The readers are told once, behind the last one.
        """
        self._add(kind, pieces)
        self._tell()

    def _add(self, kind: Kind, pieces: Iterable[str]) -> None:
        for piece in pieces:
            length = len(piece)
            if length > REPLAY_CHARS:
                self._add(kind, [piece[at : at + REPLAY_CHARS] for at in range(0, length, REPLAY_CHARS)])
                continue
            encoded = piece.encode()  # what cannot be encoded is refused before anything has changed
            end = self._open_chars + length
            if kind != self._open_kind or end > REPLAY_CHARS:
                self._complete_stretch()
                if kind != self._open_kind:
                    self._change_kind(kind)
                end = length
            self._open += encoded
            self._open_chars = end
            self._open_ends.append(end)
            self.events += 1
            if kind == "token":
                self._chars += length
            if self._has_readers:
                self._keep(self._text_chunk(piece))

    def _change_kind(self, kind: Kind) -> None:
        """From now on the model thinks, or it answers."""
        self._thought_seconds = self.thought_seconds
        self._thinks_since = self._clock() if kind == "reasoning" else None
        self._open_kind = kind
        self._places.open_is_answer = kind == "token"

    def reset(self, run_id: UUID, epoch: int) -> None:
        """Begin the answer anew, in another epoch or run. Readers are told to drop what they have."""
        cursor = self.events
        self._begin(run_id, epoch, 0, cursor=cursor)
        self.start = cursor + 1
        self._append_event(sse.event(self.start_id, {"type": "reset"}))

    def end(self, data: dict[str, Any] | None) -> None:
        """Append the terminal event; None: there is none, and the readers come back. To be called once."""
        assert not self.over, "an answer ends once"
        frame = None if data is None else sse.event(EventId(self.run_id, self.epoch, None, None), data)
        self.over, self.ended = True, frame is not None
        if frame is None:
            self._tell()
        else:
            self._append_event(frame)

    def _append_event(self, frame: bytes) -> None:
        """Append an event that is a stretch by itself."""
        self._complete_stretch()
        chunk = sse.chunk(frame)
        self._open_ends.append(0)
        self.events += 1
        self._stretches.append(chunk)
        self._open_ends = self._places.complete(self.events, self._chars)
        if self._has_readers:
            self._keep(chunk)
        self._tell()

    def _complete_stretch(self) -> None:
        """Join the events of the open stretch, and open the next one."""
        events = len(self._open_ends)
        if events:
            alone = events == 1 and self._newest
            self._stretches.append(self._newest[-1] if alone else self._text_chunk(self._open.decode()))
            self._open_ends = self._places.complete(self.events, self._chars)
            self._open = bytearray()
            self._open_chars = 0

    def _text_chunk(self, content: str) -> bytes:
        """`content`, up to and with the last event, as an event with its id."""
        return sse.text_chunk(self._text_name, self.events - self.start, self._chars, self._open_kind, content)

    def _keep(self, chunk: bytes) -> None:
        """Keep the newest event for the readers."""
        self._newest.append(chunk)
        self._newest_bytes += len(chunk)

    def _tell(self) -> None:
        """Tell the readers that there is more. Of the newest events, no more are kept than may be."""
        if not self._has_readers:
            return
        newest = self._newest
        while len(newest) > NEWEST_FRAMES or self._newest_bytes > MOST_BYTES:
            self._newest_bytes -= len(newest.pop(0))
        self._readers.tell()

    # --- reading ------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The answer so far, from its first event on. It is put together anew each time."""
        return self._text_of("token")

    @property
    def reasoning(self) -> str:
        """The model's thinking so far. It is put together anew each time."""
        return self._text_of("reasoning")

    @property
    def thought_seconds(self) -> float:
        """How long the model has thought, pauses included.

        Each time from the first piece of thinking to the next piece of the answer, or until now.
        """
        return self._thought_seconds + (0 if self._thinks_since is None else self._clock() - self._thinks_since)

    def _text_of(self, kind: Kind) -> str:
        contents = (sse.content_of(sse.unchunk(chunk), kind) for chunk in self._stretches)
        pieces = [content for content in contents if content]
        if self._open_kind == kind:
            pieces.append(self._open.decode())
        return "".join(pieces)

    @property
    def chars(self) -> int:
        """The length of `text`."""
        return self._chars - self._first_char

    def frames_since(self, cursor: int, limit: int) -> tuple[Sequence[bytes], int]:
        """What follows the first `cursor` events, as chunks, and the cursor behind them: `limit` frames at most.

        The newest events come one by one, those before them joined. There may be more, even if these are not `limit`.
        """
        at = cursor - self.events + len(self._newest)
        if at >= 0:
            newest = self._newest[at : at + limit]
            return newest, cursor + len(newest)
        asked = cursor, limit, self.events
        if self._joined_for != asked:
            self._joined_for, self._joined = asked, self._join(cursor, limit)
        return self._joined

    def _join(self, cursor: int, limit: int) -> tuple[Sequence[bytes], int]:
        """As `frames_since`, of the events before the newest ones."""
        chunk, cursor = self._rest_of_stretch(max(cursor, self._first_cursor))
        joined, room = [chunk], MOST_BYTES - len(chunk)
        while len(joined) < limit and cursor < self.events - len(self._newest):
            chunk, after = self._rest_of_stretch(cursor)
            room -= len(chunk)
            if room < 0:
                break
            joined.append(chunk)
            cursor = after
        return joined, cursor

    def _rest_of_stretch(self, cursor: int) -> tuple[bytes, int]:
        """The events from `cursor` to the end of their stretch, joined, and the cursor behind them."""
        places = self._places
        number, events = places.stretch_at(cursor)
        seen = places.ends[number][events - 1] if events else 0
        if number == len(self._stretches):
            return self._text_chunk(self._open.decode()[seen:]), self.events
        chunk = self._stretches[number]
        if seen:
            chunk = sse.chunk(sse.rest_of(sse.unchunk(chunk), seen))
        return chunk, places.end_of(number)

    @property
    def seq(self) -> int:
        """The number of the last event, but for the terminal one, which has none."""
        return self.events - self.start - self.ended

    @property
    def start_id(self) -> EventId:
        """The event id from which a new reader starts: it stands before the first event that the reader gets."""
        return EventId(self.run_id, self.epoch, 0, self._first_char)

    def names_text_of(self, event_id: EventId) -> bool:
        """Whether an event is one of this text, whoever generated it."""
        return (event_id.run_id, event_id.epoch) == (self.run_id, self.epoch)

    def place_of(self, event_id: EventId) -> tuple[int, int] | None:
        """Where the text goes on behind an event; None if it has not come so far, or the event is not of this text.

        The cursor, and how many characters of the event behind it stand before that place. The end of a stored answer
        is cut into other events at each process: there the number of characters says where it goes on.
        """
        seq, chars = event_id.seq, event_id.chars
        if seq is None or chars is None or not self.names_text_of(event_id):
            return None
        cursor = self.start + seq
        if seq <= self.seq and self._places.chars_before(cursor) == chars:
            return cursor, 0
        place = self._places.cursor_at(chars)
        # In front of `start` stands a reset, which is not for this client.
        return None if place is None else (max(place[0], self.start), place[1])

    def texts_since(self, seq: int, max_chars: int) -> tuple[Texts, int]:
        """The events behind number `seq`, about `max_chars` characters of them, and the number of the last one.

        Not to be called when it is over.
        """
        texts: Texts = []
        cursor, places = self.start + seq, self._places
        while cursor < self.events and max_chars > 0:
            number, events = places.stretch_at(cursor)
            kind, content = self._text_of_stretch(number)
            ends = places.ends[number]
            starts = [ends[events - 1] if events else 0, *ends[events:-1]]
            texts.append((kind, [content[at:end] for at, end in zip(starts, ends[events:], strict=True)]))
            max_chars -= ends[-1] - starts[0]
            cursor = places.end_of(number)
        return texts, cursor - self.start

    def _text_of_stretch(self, number: int) -> tuple[Kind, str]:
        if number == len(self._stretches):
            return self._open_kind, self._open.decode()
        return sse.text_of(sse.unchunk(self._stretches[number]))

    def add_waker(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each event, as `FanOut` says."""
        self._readers.add(wake)
        self._has_readers = True

    def remove_waker(self, wake: Callable[[], None]) -> None:
        self._readers.remove(wake)
        if not self._readers:
            self._has_readers = False
            self._newest.clear()
            self._newest_bytes = 0
            self._joined_for, self._joined = None, ([], 0)
