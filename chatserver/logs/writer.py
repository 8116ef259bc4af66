"""Writes lines from a thread of its own: whoever reads them may be slow, or read nothing at all."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

# The most bytes that wait to be written. What comes beyond is lost, and counted.
WAITING_BYTES = 2**20
# So much is written at once.
_BATCH_BYTES = 64 * 1024
# Lines that come within so many seconds of each other are written together: waking the thread costs as much as a line.
GATHER_SECONDS = 0.02

Line = TypeVar("Line")


class Writer(Generic[Line]):
    """Writes to the descriptor `output`, which may block. Neither `put` nor `close` waits for it for long.

    These are called from the thread: `make` makes the bytes of a line, possibly none. `tell_lost` makes a line that
    says how many were lost. `tick` gives lines that are due, and the time (monotonic) of the next ones, None if there
    are none. It is called at that time, whenever lines are written, and with True when the last one was.
    """

    def __init__(
        self,
        output: int,
        make: Callable[[Line], bytes],
        tell_lost: Callable[[int], bytes],
        tick: Callable[[bool], tuple[bytes, float | None]],
    ) -> None:
        self._output = os.dup(output)
        self._make = make
        self._tell_lost = tell_lost
        self._tick = tick
        self._changed = threading.Condition()
        self._lines: deque[tuple[Line, int]] = deque()
        self._bytes = 0
        self._lost = 0
        self._untold = 0
        self._idle = False
        """Whether the thread waits for a line. At other times it finds the line without being woken."""
        self._woken = False
        self._closing = False
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """How many lines were lost so far."""
        return self._lost

    def put(self, line: Line, size: int) -> None:
        """Have a line of about so many bytes written soon. It is lost if too much waits already, and after `close`."""
        with self._changed:
            if self._closing or self._bytes + size > WAITING_BYTES:
                self._lost += 1
                self._untold += 1
                return
            self._lines.append((line, size))
            self._bytes += size
            if self._idle:
                self._idle = False
                self._changed.notify()

    def wake(self) -> None:
        """Have `tick` called soon."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def close(self, seconds: float) -> None:
        """Write what waits, for at most so many seconds. May be called again."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)

    def _write_all(self) -> None:
        due = None
        while True:
            closing = self._wait(due)
            lines, untold = self._take()
            at_end = closing and not lines and not untold
            batch = [self._make(line) for line in lines]
            if untold:
                batch.append(self._tell_lost(untold))
            sums, due = self._tick(at_end)
            if not self._write(b"".join([*batch, sums])):
                with self._changed:
                    self._lost += len(lines)
                    self._untold += len(lines)
            if at_end:
                os.close(self._output)
                return

    def _wait(self, due: float | None) -> bool:
        """Wait until there is something to write, the time is `due`, or the end has come; whether it has."""
        with self._changed:
            if not (self._lines or self._untold or self._woken or self._closing):
                self._idle = True
                self._changed.wait(None if due is None else max(0.0, due - time.monotonic()))
                self._idle = False
                if self._lines and not self._closing:
                    self._changed.wait(GATHER_SECONDS)
            self._woken = False
            return self._closing

    def _take(self) -> tuple[list[Line], int]:
        """The next lines, and how many were lost since that was told."""
        with self._changed:
            taken: list[Line] = []
            size = 0
            untold, self._untold = self._untold, 0
            while self._lines and size < _BATCH_BYTES:
                line, bytes_ = self._lines.popleft()
                taken.append(line)
                size += bytes_
            self._bytes -= size
        return taken, untold

    def _write(self, data: bytes) -> bool:
        """Write all of it, however long that takes; False: nobody will ever read it."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._output, view) :]
            except BlockingIOError:  # somebody else made it non-blocking
                poll = select.poll()
                poll.register(self._output, select.POLLOUT)
                poll.poll()
            except OSError:
                return False
        return True
