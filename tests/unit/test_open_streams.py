"""The open streams of a process are counted, limited, and ended at shutdown."""

from __future__ import annotations

import asyncio

import pytest

from chatserver.errors import UnavailableError
from chatserver.metrics import Metrics
from chatserver.web.http.open_streams import OpenStreams
from tests.kit.virtual_time import in_virtual_time, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


class Stream:
    woken = 0

    def wake(self) -> None:
        self.woken += 1


@in_virtual_time
async def test_streams_are_counted_and_bounded() -> None:
    streams = OpenStreams(2, Metrics("0"))
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
async def test_close_wakes_streams_and_refuses_further_ones() -> None:
    streams, one = OpenStreams(2, Metrics("0")), Stream()
    with streams.admitted(one):
        emptied = asyncio.ensure_future(streams.wait_empty())
        streams.draining = True
        with pytest.raises(UnavailableError), streams.admitted(Stream()):
            pass
        assert one.woken == 0
        streams.close()
        streams.close()
        assert (one.woken > 0, streams.closing) == (True, True)
        await quiet()
        assert not emptied.done()
    await emptied
