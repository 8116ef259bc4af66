"""The open streams of a process are counted, limited, looked after, and ended at shutdown."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from chatserver import logs
from chatserver.errors import UnavailableError
from chatserver.metrics import Metrics
from chatserver.web.http.open_streams import OpenStreams
from chatserver.web.http.sweep import LOOKS_PER_TURN
from tests.kit.virtual_time import in_virtual_time, now, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


class Stream:
    def __init__(self) -> None:
        self.looks: list[float] = []

    def look(self, now: float) -> None:
        self.looks.append(now)


def open_streams(limit: int) -> OpenStreams:
    return OpenStreams(limit, Metrics("0"), look_seconds=1.0)


@in_virtual_time
async def test_streams_are_counted_and_bounded() -> None:
    streams = open_streams(2)
    await streams.wait_empty()
    with streams.admitted(Stream()):
        with streams.admitted(Stream()):
            with pytest.raises(UnavailableError), streams.admitted(Stream()):
                pass
            assert len(streams) == 2
        emptied = asyncio.ensure_future(streams.wait_empty())
        await quiet()
        assert not emptied.done()
        with streams.admitted(Stream()):
            assert len(streams) == 2
    await emptied


@in_virtual_time
async def test_each_open_stream_is_looked_after_again_and_again() -> None:
    streams, one, other = open_streams(2), Stream(), Stream()
    with streams.admitted(one):
        await asyncio.sleep(1.5)
        with streams.admitted(other):
            await asyncio.sleep(1.0)
        await asyncio.sleep(1.0)
    await asyncio.sleep(60)
    assert (one.looks, other.looks) == ([1.0, 2.0, 3.0], [2.0])
    with streams.admitted(other):
        await asyncio.sleep(1.0)
        await quiet()
    assert len(other.looks) == 2


@in_virtual_time
async def test_looks_at_many_streams_take_several_turns() -> None:
    """Others get turns in between, and each stream is looked at once."""
    streams, many = open_streams(1_000), [Stream() for _ in range(3 * LOOKS_PER_TURN)]
    with ExitStack() as stack:
        for stream in many:
            stack.enter_context(streams.admitted(stream))
        streams.close()
        assert sum(len(stream.looks) for stream in many) == LOOKS_PER_TURN
        await asyncio.sleep(0)
        assert sum(len(stream.looks) for stream in many) == 2 * LOOKS_PER_TURN
        await quiet()
        assert [len(stream.looks) for stream in many] == [1] * len(many)


@in_virtual_time
async def test_looks_do_not_bear_the_id_of_the_request_that_came_first() -> None:
    streams, ids = open_streams(LOOKS_PER_TURN + 1), []

    class Request:
        def look(self, now: float) -> None:
            ids.append(logs.request_id.get())

    logs.request_id.set("first")
    with ExitStack() as stack:
        for _ in range(LOOKS_PER_TURN + 1):
            stack.enter_context(streams.admitted(Request()))
        await asyncio.sleep(2.5)
        await quiet()
    assert ids == [None] * 2 * (LOOKS_PER_TURN + 1)


@in_virtual_time
async def test_look_that_fails_does_not_keep_others_from_being_looked_after(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Stream):
        def look(self, now: float) -> None:
            super().look(now)
            raise RuntimeError

    streams, broken, other = open_streams(2), Broken(), Stream()
    with streams.admitted(broken), streams.admitted(other):
        await asyncio.sleep(2.5)
        await quiet()
    assert broken.looks == other.looks == [1.0, 2.0]
    assert [record.message for record in caplog.records] == ["a look failed"] * 2
    caplog.clear()


@in_virtual_time
async def test_close_has_streams_looked_after_at_once_and_refuses_further_ones() -> None:
    streams, one = open_streams(2), Stream()
    with streams.admitted(one):
        emptied = asyncio.ensure_future(streams.wait_empty())
        streams.draining = True
        with pytest.raises(UnavailableError), streams.admitted(Stream()):
            pass
        assert one.looks == []
        streams.close()
        streams.close()
        assert (one.looks[0], streams.closing) == (now(), True)
        await quiet()
        assert not emptied.done()
    await emptied
