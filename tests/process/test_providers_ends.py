"""The end of an answer: what is waited for after the stop reason, and for how long."""

from __future__ import annotations

import asyncio
import json

import pytest

from chatserver.providers import deadlines
from chatserver.providers.base import Finish, TextDelta, Usage
from tests.kit.model_server import CHUNKED_HEAD, DONE, HEAD, Call, ModelServer, choice, chunk, event, token
from tests.kit.waiting import PATIENCE_SECONDS
from tests.process.provider_calls import ask, failure_of

# The client waits for the token counts a little longer than this: three seconds.
COUNTS_SECONDS = 2.5
COUNTS = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
COUNTED = event(
    {
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }
)
ANTHROPIC_START = event({"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}})
ANTHROPIC_TEXT = event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}})
ANTHROPIC_STOP = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}})


class Silent:
    """A script that sends these bytes, then comments for ever; `seconds` is how long its client stays after them."""

    def __init__(self, *pieces: bytes, between: bytes = b"", chunked: bool = False) -> None:
        self.seconds = 0.0
        self._pieces = [chunk(piece) for piece in pieces] if chunked else list(pieces)
        self._head = CHUNKED_HEAD if chunked else HEAD
        self._between = between

    async def __call__(self, call: Call) -> None:
        clock = asyncio.get_running_loop().time
        await call.send(self._head, *self._pieces)
        sent = clock()
        try:
            while not call.is_closed():
                await asyncio.sleep(0.05)
                await call.send(self._between)
        finally:
            self.seconds = clock() - sent


@pytest.mark.parametrize("between", [b"", b": heartbeat\n\n", b"data: {}\n\n"])
@pytest.mark.parametrize("pieces", [(token("a"), choice({}, "stop"), COUNTS), (token("a"), COUNTED)])
async def test_answer_with_its_token_counts_ends_at_once(pieces: tuple[bytes, ...], between: bytes) -> None:
    script = Silent(*pieces, between=between)
    async with ModelServer(script) as model:
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("a"), Finish("stop", Usage(7, 3))]
        await model.all_closed()
    assert script.seconds < COUNTS_SECONDS


async def test_answer_of_the_other_format_ends_at_once() -> None:
    script = Silent(ANTHROPIC_START, ANTHROPIC_TEXT, ANTHROPIC_STOP, between=event({"type": "ping"}))
    async with ModelServer(script) as model:
        deltas = [delta async for delta in ask(model.base_url, kind="anthropic")]
        await model.all_closed()
    assert deltas == [TextDelta("a"), Finish("stop", Usage(7, 3))]
    assert script.seconds < COUNTS_SECONDS


async def test_json_body_ends_the_answer_also_if_the_connection_stays_open() -> None:
    message = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
    counts = {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    script = Silent(json.dumps({**message, **counts}).encode(), between=b" ")
    async with ModelServer(script) as model:
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("a"), Finish("stop", Usage(7, 3))]
        await model.all_closed()
    assert script.seconds < COUNTS_SECONDS


@pytest.mark.parametrize("between", [b"", b": heartbeat\n\n", b'data: {"usage":"n/a"}\n\n', choice({}, "stop")])
async def test_token_counts_are_waited_for_three_seconds(between: bytes) -> None:
    script = Silent(token("a"), choice({}, "length"), between=between)
    async with ModelServer(script) as model:
        *_, end = [delta async for delta in ask(model.base_url)]
        await model.all_closed()
    assert isinstance(end, Finish)
    assert end.usage is None
    assert COUNTS_SECONDS < script.seconds < 5


async def test_token_counts_that_come_late_are_taken() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD, token("a"), choice({}, "stop"))
        await asyncio.sleep(1)
        await call.send(COUNTS)
        await call.closed()

    async with ModelServer(script) as model:
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("a"), Finish("stop", Usage(7, 3))]


async def test_text_after_the_stop_reason_goes_on_for_as_long_as_it_comes() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD)
        for number in range(5):
            await call.send(choice({"content": str(number)}, "stop"))
            await asyncio.sleep(1)
        await call.send(DONE)

    async with ModelServer(script) as model:
        deltas = [delta async for delta in ask(model.base_url)]
    assert deltas == [*map(TextDelta, "01234"), Finish("stop")]


async def test_pause_of_the_reader_does_not_use_up_the_time_for_the_end() -> None:
    go = asyncio.Event()

    async def script(call: Call) -> None:
        await call.send(HEAD, choice({"content": "a"}, "stop"), choice({"content": "b"}, "stop"))
        await go.wait()
        await call.send(COUNTS, DONE)

    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        assert await anext(answer) == TextDelta("a")
        await asyncio.sleep(3.5)
        go.set()
        assert [delta async for delta in answer] == [TextDelta("b"), Finish("stop", Usage(7, 3))]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("how", ["close", "reset", "silence"])
async def test_fault_of_the_connection_after_the_stop_reason_does_no_harm(how: str, chunked: bool) -> None:
    async def script(call: Call) -> None:
        for piece in (token("a"), choice({}, "stop")):
            await call.send(chunk(piece) if chunked else piece)
        if how == "silence":
            await call.closed()
        elif how == "reset":
            await asyncio.sleep(0.05)  # a reset takes back what the client has not read
            call.reset()

    async def with_head(call: Call) -> None:
        await call.send(CHUNKED_HEAD if chunked else HEAD)
        await script(call)

    async with ModelServer(with_head) as model:
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("a"), Finish("stop")]


@pytest.mark.parametrize("gap", [0.0, 0.05])
@pytest.mark.parametrize("counts", [b"", COUNTS])
async def test_error_after_the_stop_reason_is_an_error(
    counts: bytes, gap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "LAST_WORD_SECONDS", PATIENCE_SECONDS)

    async def script(call: Call) -> None:
        for piece in (HEAD, token("a"), choice({}, "stop"), counts, event({"error": {"code": 503}})):
            await call.send(piece)
            await asyncio.sleep(gap)
        await call.closed()

    async with ModelServer(script) as model:
        assert (await failure_of(ask(model.base_url))).code == "unavailable"
