"""Lines are written in the background: nobody waits for a standard error that takes nothing."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import pytest

from chatserver.logs.writer import WAITING_BYTES, Writer
from tests.kit.waiting import eventually_blocking

LINE = b"x" * 4_095 + b"\n"
# More than a pipe and the writer hold together.
TOO_MANY = WAITING_BYTES // len(LINE) + 100


class Pipe:
    """A pipe that is read only when a test says so."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def read_until(self, end: bytes) -> bytes:
        data = b""
        while end not in data:
            data += os.read(self.reading, 65_536)
        return data

    def close_reading(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.reading)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close_reading()  # a writer that is blocked ends with an error
    with contextlib.suppress(OSError):
        os.close(made.writing)


def make(pipe: Pipe) -> Writer[bytes]:
    return Writer(pipe.writing, lambda line: line, lambda count: b"lost %d\n" % count, lambda _: (b"", None))


def test_lines_come_out_in_order(pipe: Pipe) -> None:
    writer = make(pipe)
    for number in range(1_000):
        writer.put(b"%d\n" % number, 4)
    assert pipe.read_until(b"999\n").split() == [b"%d" % number for number in range(1_000)]
    writer.close(5)
    assert writer.lost == 0


def test_full_pipe_delays_nobody_and_losses_are_told_when_it_flows_again(pipe: Pipe) -> None:
    writer = make(pipe)
    began = time.monotonic()
    for _ in range(TOO_MANY):
        writer.put(LINE, len(LINE))
    assert time.monotonic() - began < 5
    lost = writer.lost
    assert 0 < lost < 200
    data = pipe.read_until(b"lost %d\n" % lost)
    writer.put(b"end\n", len(b"end\n"))
    data += pipe.read_until(b"end\n")
    assert data.count(LINE) == TOO_MANY - lost
    writer.close(5)
    assert writer.lost == lost


def test_close_does_not_wait_for_a_full_pipe(pipe: Pipe) -> None:
    writer = make(pipe)
    for _ in range(100):
        writer.put(LINE, len(LINE))
    began = time.monotonic()
    writer.close(0.2)
    assert time.monotonic() - began < 2
    writer.put(LINE, len(LINE))
    assert writer.lost == 1


def test_close_writes_what_waits(pipe: Pipe) -> None:
    writer = make(pipe)
    taken: list[bytes] = []
    reader = threading.Thread(target=lambda: taken.append(pipe.read_until(b"end\n")))
    reader.start()
    for _ in range(100):
        writer.put(LINE, len(LINE))
    writer.put(b"end\n", len(b"end\n"))
    writer.close(10)
    reader.join(10)
    assert taken[0].count(LINE) == 100


def test_closed_pipe_loses_lines_and_does_no_harm(pipe: Pipe) -> None:
    pipe.close_reading()
    writer = make(pipe)
    writer.put(LINE, len(LINE))
    eventually_blocking(lambda: writer.lost == 1)
    began = time.thread_time()
    writer.put(LINE, len(LINE))
    eventually_blocking(lambda: writer.lost == 2)
    writer.close(5)
    assert time.thread_time() - began < 1


def test_pipe_that_somebody_made_non_blocking_is_written_whole(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    writer = make(pipe)
    for _ in range(100):
        writer.put(LINE, len(LINE))
    writer.put(b"end\n", len(b"end\n"))
    assert pipe.read_until(b"end\n").count(LINE) == 100
    writer.close(5)
    assert writer.lost == 0
