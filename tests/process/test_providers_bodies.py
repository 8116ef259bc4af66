"""Bodies of every shape over plain sockets: what headers say of them is not believed."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib

import pytest

from chatserver.errors import ProviderError
from chatserver.providers.base import Finish, ReasoningDelta, TextDelta
from tests.kit.model_answers import ALL_CASES, ERROR, Answer, Right
from tests.kit.model_server import DONE, HEAD, Call, ModelServer, choice, token
from tests.kit.waiting import PATIENCE_SECONDS
from tests.process.provider_calls import ask, failure_of, sending


def head(media_type: str = "text/event-stream", *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Type: {media_type}", *headers, "", ""]).encode()


async def outcome(base_url: str, kind: str = "openai") -> Right:
    try:
        deltas = [delta async for delta in ask(base_url, kind=kind)]
    except ProviderError:
        return ERROR
    *pieces, end = deltas
    assert isinstance(end, Finish)
    return Answer(
        "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)),
        "".join(piece.text for piece in pieces if isinstance(piece, ReasoningDelta)),
        end.stop_reason,
    )


@pytest.mark.parametrize("part", range(8))
async def test_known_response_gives_its_answer_or_error(part: int) -> None:
    """All of tests/kit/model_answers.py, in eight parts."""
    names = sorted(ALL_CASES)[part::8]
    bodies = iter([ALL_CASES[name][1][0] for name in names])

    async def script(call: Call) -> None:
        await call.send(head(), next(bodies))

    async with ModelServer(script) as model:
        became = {name: await outcome(model.base_url, ALL_CASES[name][0]) for name in names}
    assert {name: it for name, it in became.items() if it != ALL_CASES[name][1][1]} == {}


STREAM = choice({"content": "Fo"}) + choice({"content": "ur."}) + choice({}, "stop") + DONE
BODY = json.dumps({"choices": [{"message": {"content": "Four."}, "finish_reason": "stop"}]}).encode()


@pytest.mark.parametrize(
    "media_type", ["application/json", "text/plain", "text/event-stream", "", "application/x-ndjson"]
)
@pytest.mark.parametrize("body", [STREAM, BODY, b"\xef\xbb\xbf" + BODY, b"\n\n" + STREAM])
async def test_body_is_read_as_what_it_is(media_type: str, body: bytes) -> None:
    async with ModelServer(sending(head(media_type) + body)) as model:
        assert await outcome(model.base_url) == Answer("Four.")


async def test_stream_under_another_media_type_is_passed_on_as_it_comes() -> None:
    go = asyncio.Event()

    async def script(call: Call) -> None:
        await call.send(head("application/json") + token("a"))
        await go.wait()
        await call.send(STREAM)

    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        assert await anext(answer) == TextDelta("a")
        go.set()
        assert [delta async for delta in answer] == [TextDelta("Fo"), TextDelta("ur."), Finish("stop")]


# --- compressed bodies ---------------------------------------------------------------------------------------


def deflated(data: bytes, bits: int) -> bytes:
    compressor = zlib.compressobj(wbits=bits)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize("body", [STREAM, BODY])
@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: deflated(data, -15)),
        ("gzip", lambda data: gzip.compress(data[:40]) + gzip.compress(data[40:]) + b"\0" * 8),
        ("gzip", bytes),
        ("deflate", bytes),
        ("br", bytes),
        ("identity", bytes),
    ],
)
async def test_compressed_body_is_read(encoding: str, compress: object, body: bytes) -> None:
    assert callable(compress)
    lines = [f"Content-Encoding: {encoding}"] if encoding else []
    data = compress(body)
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        async with ModelServer(sending(head("text/event-stream", *lines), *pieces)) as model:
            assert await outcome(model.base_url) == Answer("Four.")


async def test_compressed_stream_is_passed_on_as_it_comes() -> None:
    compressor = zlib.compressobj(wbits=31)
    go = asyncio.Event()

    def flushed(data: bytes) -> bytes:
        return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)

    async def script(call: Call) -> None:
        await call.send(head("text/event-stream", "Content-Encoding: gzip") + flushed(token("a")))
        await go.wait()
        await call.send(flushed(STREAM))

    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        assert await anext(answer) == TextDelta("a")
        go.set()
        assert [delta async for delta in answer] == [TextDelta("Fo"), TextDelta("ur."), Finish("stop")]


@pytest.mark.parametrize(
    ("encoding", "data", "code"),
    [
        ("gzip", gzip.compress(token("a") * 99, mtime=0)[:-9], "interrupted"),
        ("gzip", gzip.compress(token("a"), mtime=0)[:20] + b"x" * 40, "bad_response"),
        ("br", b"\x8b\x02\x80", "bad_response"),
        ("gzip", gzip.compress(b"data: " + b"x" * 4_000_000, mtime=0), "bad_response"),
    ],
)
async def test_unreadable_compressed_body_is_an_error(encoding: str, data: bytes, code: str) -> None:
    async with ModelServer(sending(head("text/event-stream", f"Content-Encoding: {encoding}") + data)) as model:
        assert (await failure_of(ask(model.base_url))).code == code


async def test_compressed_refusal_is_read() -> None:
    body = gzip.compress(json.dumps({"error": {"code": "context_length_exceeded"}}).encode())
    refusal = f"HTTP/1.1 400 X\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    async with ModelServer(sending(refusal)) as model:
        assert (await failure_of(ask(model.base_url))).code == "prompt_too_long"


@pytest.mark.parametrize(
    "start",
    [b"", b"data: ", b'data: {"choices":[{"delta":{"images":[{"url":"data:image/png;base64,', b"{", b"[" + b'"a",' * 9],
)
async def test_decompression_bomb_is_refused_and_holds_nobody_up(start: bytes) -> None:
    """80 MB of blanks or letters in 80 KB. Other tasks have their turns meanwhile; what counts is the CPU's time."""
    filling = b"A" * 1_000_000 if start else b"\n" * 1_000_000
    compressor = zlib.compressobj(wbits=31)
    bomb = compressor.compress(start) + b"".join(compressor.compress(filling) for _ in range(80)) + compressor.flush()
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            begun = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - begun)

    async with ModelServer(sending(head("text/event-stream", "Content-Encoding: gzip") + bomb)) as model:
        watching = asyncio.create_task(watch())
        error = await asyncio.wait_for(failure_of(ask(model.base_url)), 3 * PATIENCE_SECONDS)
        watching.cancel()
    assert error.code in ("bad_response", "interrupted")
    assert longest < 0.5


# --- pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "picture",
    [
        lambda url: {"images": [{"type": "image_url", "image_url": {"url": url}}]},
        lambda url: {"content": [{"type": "image_url", "image_url": {"url": url}}]},
        lambda url: {"content": "", "images": [{"b64_json": url.partition(",")[2]}]},
    ],
)
async def test_long_event_with_a_picture_is_passed_over(picture: object) -> None:
    assert callable(picture)
    url = "data:image/png;base64," + "iVBORw0KGgo+/A" * 200_000
    body = choice({"content": "Here: "}) + choice(picture(url)) + choice({"content": "done"}, "stop") + DONE
    async with ModelServer(sending(HEAD + body)) as model:
        assert await outcome(model.base_url) == Answer("Here: done")


async def test_text_beside_a_picture_in_a_long_event_is_kept() -> None:
    url = "data:image/png;base64," + "iVBORw0KGgo+/A" * 200_000
    delta = {"content": f"Here: ![it]({url}), ", "images": [{"url": url}]}
    async with ModelServer(sending(HEAD + choice(delta) + choice({"content": "done"}, "stop"))) as model:
        assert await outcome(model.base_url) == Answer("Here: [image], done")


async def test_picture_in_many_deltas_is_passed_over() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD, "Here: ![it](data:image/png;base64,")
        for _ in range(200):
            await call.send("iVBORw0KGgo+/A" * 1_000)
        await call.send(") done", choice({}, "stop"))

    async with ModelServer(script) as model:
        assert await outcome(model.base_url) == Answer("Here: [image] done")


@pytest.mark.parametrize("text", ["d", "dat", "!", "![", "<", "Good", "Hello!", " ", "\n", "![a](", "<img"])
async def test_text_that_may_become_a_picture_is_not_held_back_for_long(text: str) -> None:
    shown = asyncio.Event()

    async def script(call: Call) -> None:
        await call.send(HEAD, "x", text)
        await shown.wait()
        await call.send(choice({}, "stop"), DONE)

    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        seen = ""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while seen != "x" + text:
                delta = await anext(answer)
                assert isinstance(delta, TextDelta)
                seen += delta.text
        shown.set()
        assert [delta async for delta in answer] == [Finish("stop")]


async def test_blanks_before_the_first_word_are_not_held_back_for_long() -> None:
    shown = asyncio.Event()

    async def script(call: Call) -> None:
        await call.send(HEAD, "\n")
        await shown.wait()
        await call.send("<think>hm</think>Four.", choice({}, "stop"))

    async with ModelServer(script) as model:
        answer = ask(model.base_url)
        assert await asyncio.wait_for(anext(answer), PATIENCE_SECONDS) == TextDelta("\n")
        shown.set()
        assert [delta async for delta in answer] == [ReasoningDelta("hm"), TextDelta("Four."), Finish("stop")]
