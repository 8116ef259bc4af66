"""An answer that is closed early closes the model's connection, at any moment; a slow reader holds the model back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from chatserver.providers.base import Finish, TextDelta
from tests.kit.model_server import CHUNKED_HEAD, END, HEAD, Call, ModelServer, chunk, token
from tests.kit.waiting import PATIENCE_SECONDS
from tests.process.provider_calls import (
    ask,
    failure_of,
    one_token_and_wait,
)


async def test_closing_in_a_pause_closes_the_connection() -> None:
    async with ModelServer(one_token_and_wait) as model:
        answer = ask(model.base_url)
        assert await anext(answer) == TextDelta("a")
        await answer.aclose()
        assert model.connections[0].is_closed()
        assert {task.get_coro().__qualname__ for task in asyncio.all_tasks()} & {"Exchange._receive"} == set()


async def test_closing_with_unread_tokens_closes_the_connection() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD + token("a") * 10_000)
        await call.closed()

    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        await anext(answer)
        await answer.aclose()
        assert model.connections[0].is_closed()


async def test_cancelled_pull_closes_the_connection() -> None:
    async with ModelServer(one_token_and_wait) as model:
        answer = ask(model.base_url)
        await anext(answer)
        pull = asyncio.ensure_future(anext(answer))
        await asyncio.sleep(0)  # the pull waits for more after one turn
        pull.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pull
        assert model.connections[0].is_closed()


async def test_connection_is_closed_before_the_end_is_told() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD + END)
        await call.closed()

    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        assert await anext(answer) == Finish("stop")
        assert model.connections[0].is_closed()
        await answer.aclose()


async def test_connection_is_closed_after_a_failure() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD + b"data: {\n\n")
        await call.closed()

    async with ModelServer(script) as model:
        assert (await failure_of(ask(model.base_url))).code == "bad_response"
        assert model.connections[0].is_closed()


async def pull_and_cancel(base_url: str) -> None:
    """Cancel after each number of turns of the loop, from before the connection to after the first token."""
    tries, finished = 0, False
    while tries < 150 or not finished:
        assert tries < 3_000, "no try came to a first token"
        answer = ask(base_url)
        pull = asyncio.ensure_future(anext(answer))
        for _ in range(tries % 50):
            await asyncio.sleep(0)
        finished = finished or pull.done()
        pull.cancel()
        await asyncio.wait([pull])
        await answer.aclose()
        tries += 1


async def test_cancelling_at_any_moment_closes_the_connection() -> None:
    async with ModelServer(one_token_and_wait) as model:
        await pull_and_cancel(model.base_url)
        # Connections are accepted in their order: when this one is, all others were.
        answer = ask(model.base_url)
        await anext(answer)
        await answer.aclose()
        await asyncio.wait_for(model.all_closed(), PATIENCE_SECONDS)


async def test_endless_model_is_held_back_while_nobody_pulls() -> None:
    sent = 0
    held_back = asyncio.Event()

    async def script(call: Call) -> None:
        nonlocal sent
        data = token("x" * 1_000) * 10
        await call.send(HEAD)
        while sent < 64 * 1024 * 1024:
            try:
                async with asyncio.timeout(0.5):
                    await call.send(data)
            except TimeoutError:
                held_back.set()
                await call.closed()
                return
            sent += len(data)

    async with ModelServer(script, send_buffer_bytes=64 * 1024) as model:
        answer = ask(model.base_url)
        for _ in range(3):
            await anext(answer)
        await asyncio.wait_for(held_back.wait(), PATIENCE_SECONDS)
        assert sent < 1024 * 1024
        for _ in range(100):  # and it goes on where it was
            await anext(answer)
        await answer.aclose()


async def test_pause_of_the_reader_is_no_timeout() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD + token("a"))
        await asyncio.sleep(0.3)
        await call.send(token("b") + END)

    async with ModelServer(script) as model:
        answer = ask(model.base_url, between_tokens_seconds=0.1)
        await anext(answer)
        await asyncio.sleep(0.4)
        assert [delta async for delta in answer] == [TextDelta("b"), Finish("stop")]


async def test_model_that_hangs_up_in_a_pause_interrupts() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD + token("a"))
        await go.wait()
        call.reset()
        gone.set()

    go, gone = asyncio.Event(), asyncio.Event()
    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        await anext(answer)
        go.set()
        await gone.wait()
        assert (await failure_of(answer)).code == "interrupted"


@pytest.mark.parametrize("end", [b"", b"junk", chunk(b'data: {"choices"'), chunk(b'data: {"choices"') + chunk(b"")])
async def test_cut_answer_is_interrupted(end: bytes) -> None:
    async def script(call: Call) -> None:
        await call.send(CHUNKED_HEAD + chunk(token("a")))
        await go.wait()
        await call.send(end)

    go = asyncio.Event()
    async with ModelServer(script) as model:
        answer = ask(model.base_url, retries=2)
        await anext(answer)
        go.set()
        assert (await failure_of(answer)).code == "interrupted"
        assert len(model.connections) == 1


async def test_tokens_before_an_end_in_a_pause_are_kept() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD + token("a"))
        await go.wait()
        await call.send(token("b") + END)
        call.hang_up()
        gone.set()

    go, gone = asyncio.Event(), asyncio.Event()
    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        await anext(answer)
        go.set()
        await gone.wait()
        assert [delta async for delta in answer] == [TextDelta("b"), Finish("stop")]


@pytest.mark.parametrize(
    "test",
    [
        test_closing_with_unread_tokens_closes_the_connection,
        test_connection_is_closed_before_the_end_is_told,
        test_cancelling_at_any_moment_closes_the_connection,
    ],
)
def test_it_is_the_same_with_uvloop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
