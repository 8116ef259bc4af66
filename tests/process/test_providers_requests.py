"""Providers over plain sockets: their requests, the answers they read, and the bounds of both."""

from __future__ import annotations

import asyncio
import logging
import traceback

import pytest

from chatserver.providers import attempt, body_decoder
from chatserver.providers.base import Finish, Prompt, TextDelta, Turn
from tests.kit.model_server import CHUNKED_HEAD, END, HEAD, Call, ModelServer, chunk, refusal, token
from tests.kit.waiting import PATIENCE_SECONDS
from tests.process.provider_calls import (
    SECRET,
    ask,
    failure_of,
    in_turn,
    sending,
)


async def test_request_has_headers_and_body_and_answer_is_read() -> None:
    async with ModelServer(sending(HEAD + token("Hel") + token("lo") + END)) as model:
        host = model.base_url[7:-3]
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("Hel"), TextDelta("lo"), Finish("stop")]
    call = model.connections[0]
    first, *lines = call.head.decode().split("\r\n")
    assert first == "POST /v1/chat/completions HTTP/1.1"
    for line in (f"Host: {host}", "Content-Type: application/json", f"Authorization: Bearer {SECRET}"):
        assert line in lines
    assert call.request["messages"] == [{"role": "user", "content": "hello"}]


async def test_anthropic_format_is_spoken() -> None:
    events = (
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    async with ModelServer(sending(HEAD + events)) as model:
        assert [delta async for delta in ask(model.base_url, kind="anthropic")] == [TextDelta("hi"), Finish("stop")]
    assert b"\r\nx-api-key: " in model.connections[0].head.lower()


async def test_text_outside_ascii_crosses_chunk_borders() -> None:
    data = b"\xef\xbb\xbf" + token("grüß 😀") + END
    pieces = [chunk(data[i : i + 3]) for i in range(0, len(data), 3)]
    async with ModelServer(sending(CHUNKED_HEAD, *pieces, chunk(b""))) as model:
        prompt = Prompt((Turn("user", "grüß 😀"),))
        assert [delta async for delta in ask(model.base_url, prompt)] == [TextDelta("grüß 😀"), Finish("stop")]
    assert model.connections[0].request["messages"][0]["content"] == "grüß 😀"


async def test_body_that_is_not_streamed_is_read() -> None:
    body = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"length"}]}'
    async with ModelServer(sending(refusal(200, body=body))) as model:
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("hi"), Finish("length")]


@pytest.mark.parametrize("ending", [token("", finish_reason="stop"), token("", finish_reason="stop").strip(), END])
async def test_answer_is_whole_after_its_stop_reason(ending: bytes) -> None:
    async with ModelServer(sending(HEAD + token("a") + ending)) as model:
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("a"), Finish("stop")]


async def test_lost_connection_after_the_stop_reason_does_no_harm() -> None:
    async def script(call: Call) -> None:
        await call.send(CHUNKED_HEAD + chunk(token("a")))
        await call.send(chunk(token("", finish_reason="stop")))
        await go.wait()
        await asyncio.sleep(0.05)  # until it waits for more
        call.reset()

    go = asyncio.Event()
    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        assert await anext(answer) == TextDelta("a")
        go.set()
        assert [delta async for delta in answer] == [Finish("stop")]


@pytest.mark.parametrize(
    ("head", "code", "bound"),
    [
        (HEAD + b"data: ", "bad_response", body_decoder.MAX_LINE_BYTES),
        (HEAD + b'{"content":"', "bad_response", body_decoder.MAX_WHOLE_BYTES),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "refused", attempt.MAX_ERROR_BYTES),
        (b"HTTP/1.1 200 OK\r\nX: ", "unavailable", 64 * 1024),
    ],
)
async def test_endless_response_is_read_up_to_a_bound(head: bytes, code: str, bound: int) -> None:
    sent = 0

    async def script(call: Call) -> None:
        nonlocal sent
        await call.send(head)
        while sent < 64 * 1024 * 1024:
            try:
                await call.send(b"x" * 10_000)
            except ConnectionError:
                return
            sent += 10_000

    async with ModelServer(script, send_buffer_bytes=64 * 1024) as model:
        assert (await failure_of(ask(model.base_url))).code == code
        await asyncio.wait_for(model.all_closed(), PATIENCE_SECONDS)
    assert sent < bound + 1024 * 1024


TELLING = f'{{"error":{{"message":"Bad key {SECRET}","type":"{SECRET}","code":"key {SECRET}"}}}}'.encode()


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize(
    "answer",
    [
        *(refusal(status, f"Retry-After: {SECRET}", body=TELLING) for status in (302, 400, 401, 404, 429, 500)),
        refusal(200, body=TELLING),
        refusal(200, body=SECRET.encode()),
        HEAD + b"data: " + TELLING + b"\n\n",
        HEAD + token("a") + b"data: " + SECRET.encode() + b"\n\n",
        HEAD + token("a") + b"data: " + SECRET.encode(),
        f"{SECRET} {SECRET}\r\n\r\n".encode(),
        b"HTTP/1.1 200 OK\r\nContent-Length: " + SECRET.encode() + b"\r\n\r\n",
        b"",
    ],
)
async def test_errors_and_logs_contain_no_secret(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="chatserver")
    async with ModelServer(in_turn(answer)) as model:
        error = await failure_of(ask(model.base_url, retries=1))
        host = model.base_url[7:-3]
    shown = "".join([repr(error), *traceback.format_exception(error), error.message])
    ours = "".join(caplog.handler.format(record) for record in caplog.records if record.name.startswith("chatserver"))
    assert "provider main" in ours
    for telling in (SECRET, host):
        assert telling not in shown
        assert telling not in ours
