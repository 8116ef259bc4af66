"""The body of a model's response: from bytes cut anywhere to the deltas of an answer; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chatserver.providers.answer_text import AnswerText
from chatserver.providers.base import Delta, TextDelta
from chatserver.providers.body_decoder import BodyDecoder
from chatserver.providers.content_encoding import PlainBytes
from chatserver.providers.event_decoder import ServerEvent
from chatserver.providers.wire import ResponseReader, UnreadableError

# Reading so much takes about a millisecond.
PIECE_BYTES = 4 * 1024


class CutError(Exception):
    """The body ended within an event, or within compressed data"""


class ResponseBody:
    """Reads a body: `feed` for each of the `pieces` of what comes, `end` if no more comes, then `rest`.

    `encoding`, the value of Content-Encoding, is to be set before. Between two pieces others should have their turn.
    """

    def __init__(self, reader: ResponseReader) -> None:
        self.encoding = ""
        self._reader = reader
        self._plain: PlainBytes | None = None
        self._decoder = BodyDecoder()
        self._text = AnswerText()
        self._events = 0

    @property
    def is_stream(self) -> bool:
        """Whether it has brought an event, and is no JSON."""
        return self._events > 0 and self._decoder.kind == "stream"

    @property
    def holds_briefly(self) -> bool:
        """Whether text is held back that readers should see soon, if nothing follows: call `release` then."""
        return self._text.holds_briefly

    def pieces(self, data: bytes) -> Iterable[bytes]:
        """The next bytes, decompressed, in pieces of at most PIECE_BYTES. Raises UndecodableError, now or later."""
        if self._plain is None:
            self._plain = PlainBytes(self.encoding)
        if len(data) <= PIECE_BYTES and self._plain.is_plain:
            return (data,)
        return _cut(self._plain.feed(data))

    def feed(self, piece: bytes, deltas: list[Delta]) -> None:
        """Add the deltas in a piece to `deltas`, also those before what this raises.

        Raises AttemptError if the model reports an error, UnreadableError, TooLongError.
        """
        self._read(self._decoder.feed(piece), deltas)

    def end(self, deltas: list[Delta]) -> None:
        """Add the deltas that the end of the body completes. Raises CutError, and what `feed` raises."""
        try:
            last = b"" if self._plain is None else self._plain.end()
        except EOFError:
            raise CutError from None
        if last:
            self.feed(last, deltas)
        try:
            self._read(self._decoder.end(), deltas)
        except UnreadableError:
            raise CutError from None
        if self._decoder.kind == "json" and self._events == 1 and self._reader.has_whole:
            # One object holds all of the answer, also if it does not say why the answer ends.
            self._reader.end()

    def release(self) -> list[Delta]:
        """The text that is held back briefly."""
        return self._text.release()

    def rest(self) -> list[Delta]:
        """The text that is still held back, once the answer has ended."""
        return self._text.rest()

    def _read(self, events: Iterable[ServerEvent], deltas: list[Delta]) -> None:
        reader, text = self._reader, self._text
        for event in events:
            self._events += 1
            for delta in reader.read(event):
                if type(delta) is TextDelta:
                    text.feed(delta, deltas)
                else:
                    deltas.append(delta)
            if reader.over:
                return


def _cut(slices: Iterable[bytes]) -> Iterator[bytes]:
    for data in slices:
        for at in range(0, len(data), PIECE_BYTES):
            yield data[at : at + PIECE_BYTES]
