"""Where the lines of the log go: they are held back, then written at once, then written in the background."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from typing import TextIO

from chatserver.logs.lines import JsonFormatter, request_id, without_request
from chatserver.logs.repeats import Repeats
from chatserver.logs.requests import RequestLine
from chatserver.logs.writer import Writer

_HELD_LINES = 1_000


class Output(logging.Handler):
    """Writes lines to `stream`. While `holding`, keeps the newest of them instead.

    From `release` with `background` on a thread writes them, and a stream that takes nothing delays nobody.
    """

    def __init__(self, stream: TextIO, *, hold: bool) -> None:
        super().__init__()
        self.holding = hold
        self._stream = stream
        self._held: deque[str] = deque(maxlen=_HELD_LINES)
        self._repeats = Repeats()
        self._summing = False
        self._writer: Writer[bytes | RequestLine] | None = None

    def emit(self, record: logging.LogRecord) -> None:  # the caller holds the handler's lock
        now = time.monotonic()
        if self._writer is None:
            self._tell_sums(now)
        if self._repeats.tell(record, now):
            self._tell(record)
        elif not self._summing and self._writer is not None:
            self._summing = True
            self._writer.wake()

    def put_request(self, line: RequestLine) -> bool:
        """Have the line of a request made and written in the background; False: there is no background yet."""
        if self._writer is None:
            return False
        self._writer.put(line, line.size)
        return True

    def put_text(self, line: str) -> None:
        """Have a line written as it is, in its order among the others."""
        self.acquire()
        try:
            self._put(line)
        finally:
            self.release()

    def release_held(self, *, background: bool) -> None:
        """Write what was held back. From now on lines are written at once, or in the background if that is possible."""
        self.acquire()
        try:
            if background and self._writer is None:
                self._writer = self._background_writer()
            self.holding = False
            while self._held:
                self._write(self._held.popleft())
        finally:
            self.release()

    def finish(self, seconds: float) -> None:
        """Write what waits in the background, and what was not told yet, for at most so many seconds."""
        if self._writer is not None:
            self._writer.close(seconds)
            return
        self.acquire()
        try:
            self._tell_sums(time.monotonic(), at_end=True)
        finally:
            self.release()

    @property
    def lost(self) -> int:
        """How many lines were lost because nobody took them."""
        return self._writer.lost if self._writer is not None else 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the standard library's name)
        """Name a line that cannot be formatted. The standard library would write to standard error, which may block."""
        self._put(self._unformattable(record))

    def _background_writer(self) -> Writer[bytes | RequestLine] | None:
        try:
            return Writer(self._stream.fileno(), self._made, self._lost_line, self._tick)
        except (OSError, ValueError):  # it is no file, as in tests
            return None

    def _tell_sums(self, now: float, *, at_end: bool = False) -> None:
        for record in self._repeats.sums(now, at_end=at_end):
            without_request().run(self._tell, record)

    def _tell(self, record: logging.LogRecord) -> None:
        self._put(self._line(record))

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception:  # as in every handler of the standard library: a bad log call must do no harm
            return self._unformattable(record)

    def _unformattable(self, record: logging.LogRecord) -> str:
        kind = type(sys.exc_info()[1]).__name__
        return self.format(_own(record.name, "a line cannot be formatted (%s): %s", kind, ascii(record.msg)[:500]))

    def _put(self, line: str) -> None:
        if self.holding:
            self._held.append(line)
        else:
            self._write(line)

    def _write(self, line: str) -> None:
        if self._writer is not None:
            encoded = self._encode(line)
            self._writer.put(encoded, len(encoded))
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads any more
            pass

    def _encode(self, line: str) -> bytes:
        return (line + "\n").encode(self._stream.encoding or "utf-8", "backslashreplace")

    # --- called by the thread that writes ---------------------------------------------------------------------

    def _made(self, line: bytes | RequestLine) -> bytes:
        """The bytes of a line that waited; none if it is only counted."""
        if isinstance(line, bytes):
            return line
        if line.status < 400 and isinstance(self.formatter, JsonFormatter):  # what most are, and they are not counted
            quickly = line.to_json()
            if quickly is not None:
                return self._encode(quickly)
        record = line.record()
        self.acquire()
        try:
            told = self._repeats.tell(record, time.monotonic())
        finally:
            self.release()
        if not told:
            return b""
        request_id.set(line.request_id)
        made = self._encode(self._line(record))
        request_id.set(None)
        return made

    def _tick(self, at_end: bool) -> tuple[bytes, float | None]:
        self.acquire()
        try:
            sums = self._repeats.sums(time.monotonic(), at_end=at_end)
            due = self._repeats.due
            self._summing = due is not None
        finally:
            self.release()
        return b"".join([self._encode(self._line(record)) for record in sums]), due

    def _lost_line(self, count: int) -> bytes:
        record = _own("chatserver.logs", "%d lines of the log were lost: standard error did not take them", count)
        record.fields = {"lost": count}
        return self._encode(self.format(record))


def _own(name: str, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "", 0, message, arguments, None)
