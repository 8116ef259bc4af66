"""The HTTP side of the providers against real sockets: closing, holding back, time-outs, asking again, secrets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import tornado
from tornado.iostream import IOStream, SSLIOStream

from chatserver.errors import ProviderError
from chatserver.providers import failures, remote
from chatserver.providers.base import Delta, Finish, Prompt, TextDelta, Turn
from chatserver.providers.factory import make_provider
from chatserver.settings import ProviderSettings
from tests.kit.model_server import CHUNKED_HEAD, END, HEAD, Call, ModelServer, Script, chunk, refusal, token
from tests.kit.waiting import eventually

SECRET = "sk-proj-0123456789abcdef"
PROMPT = Prompt((Turn("user", "hello"),))
SECOND = 1.0


def ask(base_url: str, prompt: Prompt = PROMPT, **settings: object) -> AsyncGenerator[Delta]:
    checked = ProviderSettings.model_validate(
        {"kind": "openai", "base_url": base_url, "model": "m", "api_key_env": "KEY", "retries": 0} | settings
    )
    return make_provider("main", checked, {"KEY": SECRET}).generate(prompt)


async def failure_of(answer: AsyncGenerator[Delta]) -> ProviderError:
    """What pulling the answer to its end raises."""
    with pytest.raises(ProviderError) as caught:
        async for _ in answer:
            pass
    assert type(caught.value) is ProviderError
    return caught.value


def sending(*pieces: bytes) -> Script:
    """A script that sends these and hangs up."""

    async def script(call: Call) -> None:
        for piece in pieces:
            await call.send(piece)

    return script


def in_turn(*answers: bytes) -> Script:
    """A script that gives one of these to each connection, and the last to all further ones."""
    left = list(answers)

    async def script(call: Call) -> None:
        await call.send(left.pop(0) if len(left) > 1 else left[0])

    return script


async def one_token_and_wait(call: Call) -> None:
    await call.send(HEAD + token("a"))
    await call.closed()


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "FIRST_WAIT_SECONDS", 0.001)


# --- the request ------------------------------------------------------------------------------------------


async def test_a_request_and_its_answer() -> None:
    async with ModelServer(sending(HEAD + token("Hel") + token("lo") + END)) as model:
        host = model.base_url[7:-3]
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("Hel"), TextDelta("lo"), Finish("stop")]
    call = model.connections[0]
    first, *lines = call.head.decode().split("\r\n")
    assert first == "POST /v1/chat/completions HTTP/1.1"
    for line in (f"Host: {host}", "Content-Type: application/json", f"Authorization: Bearer {SECRET}"):
        assert line in lines
    assert call.request["messages"] == [{"role": "user", "content": "hello"}]


async def test_the_other_format() -> None:
    events = (
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    async with ModelServer(sending(HEAD + events)) as model:
        assert [delta async for delta in ask(model.base_url, kind="anthropic")] == [TextDelta("hi"), Finish("stop")]
    assert b"\r\nx-api-key: " in model.connections[0].head.lower()


async def test_text_outside_ascii_and_over_chunk_borders() -> None:
    data = b"\xef\xbb\xbf" + token("grüß 😀") + END
    pieces = [chunk(data[i : i + 3]) for i in range(0, len(data), 3)]
    async with ModelServer(sending(CHUNKED_HEAD, *pieces, chunk(b""))) as model:
        prompt = Prompt((Turn("user", "grüß 😀"),))
        assert [delta async for delta in ask(model.base_url, prompt)] == [TextDelta("grüß 😀"), Finish("stop")]
    assert model.connections[0].request["messages"][0]["content"] == "grüß 😀"


async def test_a_body_that_is_not_streamed() -> None:
    body = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"length"}]}'
    async with ModelServer(sending(refusal(200, body=body))) as model:
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("hi"), Finish("length")]


@pytest.mark.parametrize("ending", [token("", finish_reason="stop"), token("", finish_reason="stop").strip(), END])
async def test_an_answer_is_whole_once_the_model_said_why_it_stopped(ending: bytes) -> None:
    async with ModelServer(sending(HEAD + token("a") + ending)) as model:
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("a"), Finish("stop")]


async def test_losing_the_connection_after_that_does_no_harm() -> None:
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


# --- closing ----------------------------------------------------------------------------------------------


async def test_closed_in_a_pause() -> None:
    async with ModelServer(one_token_and_wait) as model:
        answer = ask(model.base_url)
        assert await anext(answer) == TextDelta("a")
        await answer.aclose()
        assert model.connections[0].is_closed()
        assert {task.get_coro().__qualname__ for task in asyncio.all_tasks()} & {"Exchange._receive"} == set()


async def test_closed_with_tokens_at_hand() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD + token("a") * 10_000)
        await call.closed()

    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        await anext(answer)
        await answer.aclose()
        assert model.connections[0].is_closed()


async def test_closed_by_cancelling_a_pull() -> None:
    async with ModelServer(one_token_and_wait) as model:
        answer = ask(model.base_url)
        await anext(answer)
        pull = asyncio.ensure_future(anext(answer))
        await asyncio.sleep(0)  # the pull waits for more after one turn
        pull.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pull
        assert model.connections[0].is_closed()


async def test_closed_before_the_end_is_told() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD + END)
        await call.closed()

    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        assert await anext(answer) == Finish("stop")
        assert model.connections[0].is_closed()
        await answer.aclose()


async def test_closed_after_a_failure() -> None:
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


async def test_closed_at_any_moment() -> None:
    async with ModelServer(one_token_and_wait) as model:
        await pull_and_cancel(model.base_url)
        # Connections are accepted in their order: when this one is, all others were.
        answer = ask(model.base_url)
        await anext(answer)
        await answer.aclose()
        await asyncio.wait_for(model.all_closed(), SECOND)


# --- holding back -----------------------------------------------------------------------------------------


async def test_an_endless_model_is_held_back_while_nobody_pulls() -> None:
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
        await asyncio.wait_for(held_back.wait(), 10 * SECOND)
        assert sent < 1024 * 1024
        for _ in range(100):  # and it goes on where it was
            await anext(answer)
        await answer.aclose()


async def test_a_pause_is_no_time_out() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD + token("a"))
        await asyncio.sleep(0.3)
        await call.send(token("b") + END)

    async with ModelServer(script) as model:
        answer = ask(model.base_url, between_tokens_seconds=0.1)
        await anext(answer)
        await asyncio.sleep(0.4)
        assert [delta async for delta in answer] == [TextDelta("b"), Finish("stop")]


async def test_a_model_that_hangs_up_in_a_pause() -> None:
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
async def test_an_answer_that_is_cut(end: bytes) -> None:
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


async def test_what_came_before_an_end_in_a_pause_is_kept() -> None:
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


# --- time-outs --------------------------------------------------------------------------------------------


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
async def test_no_first_token_in_time(script: Script) -> None:
    async with ModelServer(script) as model:
        answer = ask(model.base_url, first_token_seconds=0.1, between_tokens_seconds=60, retries=2)
        error = await asyncio.wait_for(failure_of(answer), 5 * SECOND)
        assert error.code == "timeout"
        assert len(model.connections) == 1
        assert model.connections[0].is_closed()


async def test_no_next_token_in_time() -> None:
    async with ModelServer(one_token_and_wait) as model:
        answer = ask(model.base_url, first_token_seconds=60, between_tokens_seconds=0.1)
        await anext(answer)
        assert (await asyncio.wait_for(failure_of(answer), 5 * SECOND)).code == "timeout"


async def test_the_longer_time_is_for_the_first_token_only() -> None:
    async def script(call: Call) -> None:
        await asyncio.sleep(0.3)
        await call.send(HEAD + token("a"))
        await call.closed()

    async with ModelServer(script) as model:
        answer = ask(model.base_url, first_token_seconds=30, between_tokens_seconds=0.1)
        await anext(answer)
        assert (await asyncio.wait_for(failure_of(answer), 5 * SECOND)).code == "timeout"


async def test_a_model_that_does_not_take_the_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel connects, and nobody reads
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        answer = ask(url, Prompt((Turn("user", "x" * 20_000_000),)), first_token_seconds=0.2)
        assert (await failure_of(answer)).code == "timeout"


async def test_each_token_has_its_own_time() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD)
        for _ in range(8):
            await call.send(token("a"))
            await asyncio.sleep(0.1)
        await call.send(END)

    async with ModelServer(script) as model:
        deltas = [delta async for delta in ask(model.base_url, between_tokens_seconds=0.5)]
    assert deltas == [TextDelta("a")] * 8 + [Finish("stop")]


async def test_no_connection_in_time() -> None:
    # Nobody accepts, and the queue is full: further connections hang.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            error = await failure_of(ask("http://{}:{}/v1".format(*address), connect_seconds=0.2))
    assert error.code == "timeout"


# --- failures and asking again ----------------------------------------------------------------------------


async def test_a_model_that_is_not_there(caplog: pytest.LogCaptureFixture, no_backoff: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert (await failure_of(ask(f"http://127.0.0.1:{port}/v1", retries=2))).code == "unavailable"
    assert len(caplog.records) == 3


@pytest.mark.parametrize("host", ["model.invalid", "x" * 64 + ".invalid"])
async def test_a_name_that_leads_nowhere(host: str) -> None:
    assert (await failure_of(ask(f"http://{host}/v1"))).code == "unavailable"


ANSWER = HEAD + token("a") + END


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
async def test_asked_again_before_the_first_token(first: bytes) -> None:
    async with ModelServer(in_turn(first, first, ANSWER)) as model:
        assert [delta async for delta in ask(model.base_url, retries=2)] == [TextDelta("a"), Finish("stop")]
        assert len(model.connections) == 3
    async with ModelServer(in_turn(first, first, ANSWER)) as model:
        assert (await failure_of(ask(model.base_url, retries=1))).code in ("rate_limited", "unavailable")
        assert len(model.connections) == 2


async def test_retry_after_is_waited_for() -> None:
    async with ModelServer(in_turn(refusal(429, "Retry-After: 1"), ANSWER)) as model:
        begin = asyncio.get_running_loop().time()
        assert await anext(ask(model.base_url, retries=1)) == TextDelta("a")
        assert asyncio.get_running_loop().time() - begin >= 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusal(302, "Location: /v1/elsewhere"), "bad_response"),
        (refusal(400), "bad_response"),
        (refusal(401), "unauthorized"),
        (refusal(403), "unauthorized"),
        (refusal(404), "bad_response"),
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
        (HEAD + b'data: {"choices":[{"delta":{"content":5}}]}\n\n', "bad_response"),
        (HEAD + token("a") + b'data: {"error":{"code":503}}\n\n', "unavailable"),
    ],
)
async def test_not_asked_again(answer: bytes, code: str) -> None:
    async with ModelServer(in_turn(answer)) as model:
        assert (await failure_of(ask(model.base_url, retries=2))).code == code
        assert len(model.connections) == 1


async def test_cancelled_between_two_tries(caplog: pytest.LogCaptureFixture) -> None:
    async with ModelServer(in_turn(refusal(429, "Retry-After: 20"))) as model:
        pull = asyncio.ensure_future(anext(ask(model.base_url, retries=1)))
        await eventually(lambda: bool(caplog.records))  # the line says that the model will be asked again
        pull.cancel()
        done, _ = await asyncio.wait([pull], timeout=SECOND)
        assert done


# --- bounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "code", "bound"),
    [
        (HEAD + b"data: ", "bad_response", remote.MAX_LINE_BYTES),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", "bad_response", remote.MAX_WHOLE_BYTES),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "bad_response", remote.MAX_ERROR_BYTES),
        (b"HTTP/1.1 200 OK\r\nX: ", "unavailable", 64 * 1024),
    ],
)
async def test_what_has_no_end_is_not_read_to_it(head: bytes, code: str, bound: int) -> None:
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
        await asyncio.wait_for(model.all_closed(), SECOND)
    assert sent < bound + 1024 * 1024


# --- TLS --------------------------------------------------------------------------------------------------

CERTIFICATE = Path(tornado.__file__).parent / "test" / "test.crt"


def tls_server(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Any:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
    return asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)


async def answer_over_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    writer.close()


def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the certificate of `tls_server`, from now on."""
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    trusting.check_hostname = False
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)


async def test_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    async with await tls_server(answer_over_tls) as server:
        trust(monkeypatch)
        port = server.sockets[0].getsockname()[1]
        deltas = [delta async for delta in ask(f"https://127.0.0.1:{port}/v1")]
    assert deltas == [TextDelta("a"), Finish("stop")]


async def test_a_certificate_that_is_not_trusted(caplog: pytest.LogCaptureFixture) -> None:
    async with await tls_server(answer_over_tls) as server:
        port = server.sockets[0].getsockname()[1]
        error = await failure_of(ask(f"https://127.0.0.1:{port}/v1", retries=2))
    assert error.code == "unavailable"
    ours = [record for record in caplog.records if record.name == remote.__name__]
    assert len(ours) == 1
    assert "certificate" in ours[0].getMessage()


async def test_closed_in_a_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        pull = asyncio.ensure_future(anext(ask(f"https://127.0.0.1:{listener.getsockname()[1]}/v1")))
        sock, _ = await asyncio.get_running_loop().sock_accept(listener)
        sock.setblocking(False)
        with sock:
            call = Call(sock)
            await asyncio.get_running_loop().sock_recv(sock, 65_536)  # its hello
            pull.cancel()
            await asyncio.wait([pull])
            assert call.is_closed()


async def test_cancelled_as_the_handshake_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    start_tls = IOStream.start_tls

    def and_cancel(*arguments: Any, **options: Any) -> asyncio.Future[SSLIOStream]:
        handshake = start_tls(*arguments, **options)
        handshake.add_done_callback(lambda _: pull.cancel())
        return handshake

    closed = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            await reader.read()
            closed.set()

    monkeypatch.setattr(IOStream, "start_tls", and_cancel)
    async with await tls_server(wait) as server:
        trust(monkeypatch)
        pull = asyncio.ensure_future(anext(ask(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")))
        await asyncio.wait([pull])
        assert pull.cancelled()
        await asyncio.wait_for(closed.wait(), SECOND)


async def test_a_handshake_that_does_not_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        assert (await failure_of(ask(url, connect_seconds=0.2))).code == "timeout"


# --- secrets ----------------------------------------------------------------------------------------------

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
async def test_no_secret_in_errors_and_logs(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
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
