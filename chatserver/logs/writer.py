"""Writes lines from a thread of its own: whoever reads them may be slow, or read nothing at all."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

# The most bytes that wait to be written. What comes beyond is lost, and counted.
WAITING_BYTES = 2**20
# So much is written at once.
_BATCH_BYTES = 64 * 1024


class Writer:
    """Writes to the descriptor `output`, which may block. Neither `put` nor `close` waits for it for long.

    `tell_lost` makes a line that says how many were lost. `tick` is called from the thread, at the time (monotonic)
    that it returned, or the next time that a line is written; None: not until then.
    """

    def __init__(self, output: int, tell_lost: Callable[[int], bytes], tick: Callable[[], float | None]) -> None:
        self._output = os.dup(output)
        self._tell_lost = tell_lost
        self._tick = tick
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._untold = 0
        self._closing = False
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """How many lines were lost so far."""
        return self._lost

    def put(self, line: bytes) -> None:
        """Have a line written soon. It is lost if too much waits already, and after `close`."""
        with self._changed:
            if self._closing or self._bytes + len(line) > WAITING_BYTES:
                self._lost += 1
                self._untold += 1
                return
            self._lines.append(line)
            self._bytes += len(line)
            self._changed.notify()

    def wake(self) -> None:
        """Have `tick` called soon."""
        with self._changed:
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
            with self._changed:
                if not self._lines and not self._untold and not self._closing:
                    self._changed.wait(None if due is None else max(0.0, due - time.monotonic()))
                closing = self._closing
            due = self._tick()
            batch, lines = self._take()
            if not batch:
                if closing:
                    return
            elif not self._write(batch):
                with self._changed:
                    self._lost += lines
                    self._untold += lines

    def _take(self) -> tuple[bytes, int]:
        """The next lines, after one that tells of lost ones; and how many they are."""
        with self._changed:
            taken: list[bytes] = []
            size = 0
            untold, self._untold = self._untold, 0
            while self._lines and size < _BATCH_BYTES:
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            self._bytes -= size
        lines = len(taken)
        if untold:
            taken.append(self._tell_lost(untold))
        return b"".join(taken), lines

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
