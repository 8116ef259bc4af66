"""Time-outs and failures of a model, and asking it again."""

from __future__ import annotations

import asyncio
import socket

import pytest

from chatserver.providers.base import Finish, Prompt, TextDelta, Turn
from tests.kit.model_server import CHUNKED_HEAD, END, HEAD, Call, ModelServer, Script, refusal, token
from tests.kit.waiting import PATIENCE_SECONDS, eventually
from tests.process.provider_calls import (
    ANSWER,
    ask,
    failure_of,
    in_turn,
    one_token_and_wait,
)


async def silent(call: Call) -> None:
    await call.closed()


async def silent_after_the_head(call: Call) -> None:
    await call.send(HEAD)
    await call.closed()


async def pinging(call: Call) -> None:
    await call.send(HEAD)
    while not call.is_closed():
        await call.send(b": ping\n\n")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("script", [silent, silent_after_the_head, pinging])
async def test_missing_first_token_times_out(script: Script) -> None:
    async with ModelServer(script) as model:
        answer = ask(model.base_url, first_token_seconds=0.1, between_tokens_seconds=60, retries=2)
        error = await asyncio.wait_for(failure_of(answer), PATIENCE_SECONDS)
        assert error.code == "timeout"
        assert len(model.connections) == 1
        assert model.connections[0].is_closed()


async def test_missing_next_token_times_out() -> None:
    async with ModelServer(one_token_and_wait) as model:
        answer = ask(model.base_url, first_token_seconds=60, between_tokens_seconds=0.1)
        await anext(answer)
        assert (await asyncio.wait_for(failure_of(answer), PATIENCE_SECONDS)).code == "timeout"


async def test_longer_time_is_for_the_first_token_only() -> None:
    async def script(call: Call) -> None:
        await asyncio.sleep(0.3)
        await call.send(HEAD + token("a"))
        await call.closed()

    async with ModelServer(script) as model:
        answer = ask(model.base_url, first_token_seconds=30, between_tokens_seconds=0.1)
        await anext(answer)
        assert (await asyncio.wait_for(failure_of(answer), PATIENCE_SECONDS)).code == "timeout"


async def test_model_that_does_not_read_the_request_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel connects, and nobody reads
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        answer = ask(url, Prompt((Turn("user", "x" * 20_000_000),)), first_token_seconds=0.2)
        assert (await failure_of(answer)).code == "timeout"


async def test_each_token_has_its_own_time_limit() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD)
        for _ in range(10):
            await call.send(token("a"))
            await asyncio.sleep(0.2)
        await call.send(END)

    async with ModelServer(script) as model:
        deltas = [delta async for delta in ask(model.base_url, between_tokens_seconds=1.5)]
    assert deltas == [TextDelta("a")] * 10 + [Finish("stop")]


async def test_missing_connection_times_out() -> None:
    # Nobody accepts, and the queue is full: further connections hang.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            error = await failure_of(ask("http://{}:{}/v1".format(*address), connect_seconds=0.2))
    assert error.code == "timeout"


async def test_absent_model_is_asked_again_and_unavailable(caplog: pytest.LogCaptureFixture, no_backoff: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert (await failure_of(ask(f"http://127.0.0.1:{port}/v1", retries=2))).code == "unavailable"
    assert len(caplog.records) == 3


@pytest.mark.parametrize("host", ["model.invalid", "x" * 64 + ".invalid"])
async def test_unknown_host_is_unavailable(host: str) -> None:
    assert (await failure_of(ask(f"http://{host}/v1"))).code == "unavailable"


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize(
    "first",
    [
        refusal(429, "Retry-After: 0"),
        refusal(500),
        refusal(503),
        refusal(529),
        b"",
        HEAD + b'data: {"error":{"type":"overloaded_error"}}\n\n',
        CHUNKED_HEAD,
        b"this is not HTTP\r\n\r\n",
    ],
)
async def test_failure_before_the_first_token_is_retried(first: bytes) -> None:
    async with ModelServer(in_turn(first, first, ANSWER)) as model:
        assert [delta async for delta in ask(model.base_url, retries=2)] == [TextDelta("a"), Finish("stop")]
        assert len(model.connections) == 3
    async with ModelServer(in_turn(first, first, ANSWER)) as model:
        assert (await failure_of(ask(model.base_url, retries=1))).code in ("rate_limited", "unavailable")
        assert len(model.connections) == 2


async def test_retry_waits_for_retry_after() -> None:
    async with ModelServer(in_turn(refusal(429, "Retry-After: 1"), ANSWER)) as model:
        begin = asyncio.get_running_loop().time()
        assert await anext(ask(model.base_url, retries=1)) == TextDelta("a")
        assert asyncio.get_running_loop().time() - begin >= 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusal(302, "Location: /v1/elsewhere"), "refused"),
        (refusal(400), "refused"),
        (refusal(401), "unauthorized"),
        (refusal(403), "unauthorized"),
        (refusal(404), "refused"),
        (refusal(408), "timeout"),
        (refusal(429, "Retry-After: 3600"), "rate_limited"),
        (refusal(200), "bad_response"),
        (refusal(200, body=b"x"), "bad_response"),
        (refusal(200, body=b'{"error":{"type":"invalid_api_key"}}'), "unauthorized"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "bad_response"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "bad_response"),
        (HEAD, "interrupted"),
        (HEAD + token("a"), "interrupted"),
        (HEAD + token("a") + b'data: {"choices":[{"del', "interrupted"),
        (HEAD + token("a") + b"data: {}}\n\n" + END, "bad_response"),
        (HEAD + b"data: " + b"[" * 100_000 + b"\n\n", "bad_response"),
        (refusal(413), "prompt_too_long"),
        (refusal(422), "refused"),
        (HEAD + token("a") + b'data: {"error":{"code":503}}\n\n', "unavailable"),
    ],
)
async def test_other_failures_are_not_retried(answer: bytes, code: str) -> None:
    async with ModelServer(in_turn(answer)) as model:
        assert (await failure_of(ask(model.base_url, retries=2))).code == code
        assert len(model.connections) == 1


async def test_cancelling_between_two_tries_ends_the_request(caplog: pytest.LogCaptureFixture) -> None:
    async with ModelServer(in_turn(refusal(429, "Retry-After: 20"))) as model:
        pull = asyncio.ensure_future(anext(ask(model.base_url, retries=1)))
        await eventually(lambda: bool(caplog.records))  # the line says that the model will be asked again
        pull.cancel()
        await asyncio.wait([pull], timeout=PATIENCE_SECONDS)
        assert pull.cancelled()
