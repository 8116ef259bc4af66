"""The body of a model's response: from bytes cut anywhere to the deltas of an answer; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chatserver.providers.answer_text import AnswerText
from chatserver.providers.base import Delta, TextDelta
from chatserver.providers.body_decoder import BodyDecoder
from chatserver.providers.content_encoding import PlainBytes
from chatserver.providers.event_decoder import ServerEvent
from chatserver.providers.wire import ResponseReader, UnreadableError


class CutError(Exception):
    """The body ended within an event, or within compressed data"""


class ResponseBody:
    """Reads a body: `feed` for each chunk, `end` if no more comes, then `rest`.

    `encoding`, the value of Content-Encoding, is to be set before the first `feed`. The methods give deltas while they
    read; stop asking, and nothing more is read.
    """

    def __init__(self, reader: ResponseReader) -> None:
        self.encoding = ""
        self.ended = False
        """Whether `end` was called."""
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

    def feed(self, chunk: bytes) -> Iterator[Delta | None]:
        """The deltas in the next bytes. None: a long piece was read; let others have a turn.

        Raises AttemptError if the model reports an error, UnreadableError, TooLongError, UndecodableError.
        """
        if self._plain is None:
            self._plain = PlainBytes(self.encoding)
        for number, piece in enumerate(self._plain.feed(chunk)):
            if number:
                yield None
            yield from self._read(self._decoder.feed(piece))
            if self._reader.over:
                return

    def end(self) -> Iterator[Delta]:
        """The deltas that the end of the body completes. Raises CutError, and what `feed` raises."""
        self.ended = True
        try:
            last = b"" if self._plain is None else self._plain.end()
        except EOFError:
            raise CutError from None
        if last:
            yield from self._read(self._decoder.feed(last))
        try:
            yield from self._read(self._decoder.end())
        except UnreadableError:
            raise CutError from None
        if self._decoder.kind == "json" and self._events == 1 and self._reader.has_whole:
            # One object holds all of the answer, also if it does not say why the answer ends.
            self._reader.end()

    def release(self) -> Iterator[Delta]:
        """The text that is held back briefly."""
        return iter(self._text.release())

    def rest(self) -> Iterator[Delta]:
        """The text that is still held back, once the answer has ended."""
        return iter(self._text.rest())

    def _read(self, events: Iterable[ServerEvent]) -> Iterator[Delta]:
        reader, clean = self._reader, self._text.feed
        for event in events:
            self._events += 1
            for delta in reader.read(event):
                if type(delta) is TextDelta:
                    yield from clean(delta)
                else:
                    yield delta
            if reader.over:
                return
