"""Refusals: fields that nobody wished for are left out, and a prompt that is too long is told apart."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from chatserver.providers.base import Finish, Provider, ReasoningDelta, TextDelta
from chatserver.providers.factory import make_provider
from chatserver.settings_tables import ProviderSettings
from tests.kit.model_server import HEAD, Call, ModelServer, Script, event, refusal, token
from tests.kit.pulled_answer import PulledAnswer
from tests.process.provider_calls import ANSWER, PROMPT, SECRET, ask, failure_of, in_turn, sending

WHOLE = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}


def provider(model: ModelServer, **settings: Any) -> Provider:
    checked = ProviderSettings.model_validate(
        {"kind": "openai", "base_url": model.base_url, "model": "m", "retries": 0, **settings}
    )
    return make_provider("main", checked, {})


def refusing(field: str, status: int, body: object) -> Script:
    """A server that refuses requests with that field."""

    async def script(call: Call) -> None:
        if field in call.request:
            await call.send(refusal(status, body=body if isinstance(body, bytes) else json.dumps(body).encode()))
        elif call.request.get("stream"):
            await call.send(ANSWER)
        else:
            await call.send(refusal(200, body=json.dumps(WHOLE).encode()))

    return script


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Unrecognized request argument supplied: stream_options", "param": None}},
        {"error": {"message": "x", "param": "stream_options", "code": "unknown_parameter"}},
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "not permitted"}]},
        {"object": "error", "message": "[{'loc': ('body', 'stream_options', 'include_usage')}]", "code": 400},
        {"error": 'json: unknown field "stream_options"'},
        {"message": "`stream_options` is only supported by other models"},
        b"Stream options are not supported",
        b"<html>STREAM_OPTIONS</html>",
    ],
)
async def test_refused_field_is_left_out_and_remembered(status: int, body: object) -> None:
    async with ModelServer(refusing("stream_options", status, body)) as model:
        main = provider(model)
        for _ in range(2):
            assert [delta async for delta in PulledAnswer(main, PROMPT)] == [TextDelta("a"), Finish("stop")]
    fields = ["stream_options" in call.request for call in model.connections]
    assert fields == [True, False, False]
    first, second, _ = (call.request for call in model.connections)
    assert {**second, "stream_options": {"include_usage": True}} == first


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "error",
    [
        {"message": "Your organization must be verified to stream this model.", "param": "stream"},
        {"message": "'stream' does not support true with this model"},
    ],
)
async def test_model_that_cannot_stream_is_asked_for_a_whole_answer(kind: str, error: object) -> None:
    async with ModelServer(refusing("stream", 400, {"error": error})) as model:
        main = provider(model, kind=kind)
        if kind == "openai":
            for _ in range(2):
                assert [delta async for delta in PulledAnswer(main, PROMPT)] == [TextDelta("a"), Finish("stop")]
        else:
            await failure_of(PulledAnswer(main, PROMPT))
    assert ["stream" in call.request for call in model.connections][:2] == [True, False]
    assert "stream_options" not in model.connections[1].request


async def test_fields_refused_one_after_the_other_are_all_left_out() -> None:
    async def script(call: Call) -> None:
        field = next((field for field in ("stream_options", "stream") if field in call.request), None)
        body = {"error": {"param": field}} if field else WHOLE
        await call.send(refusal(400 if field else 200, body=json.dumps(body).encode()))

    async with ModelServer(script) as model:
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("a"), Finish("stop")]
        assert len(model.connections) == 3


async def test_refusals_at_once_are_all_asked_again() -> None:
    async with ModelServer(refusing("stream_options", 400, b"stream_options")) as model:
        main = provider(model)

        async def answer() -> list[object]:
            return [delta async for delta in PulledAnswer(main, PROMPT)]

        assert await asyncio.gather(*[answer() for _ in range(5)]) == [[TextDelta("a"), Finish("stop")]] * 5


async def test_field_whose_absence_does_not_help_is_sent_again() -> None:
    """The error may only repeat what the user wrote."""
    refused = refusal(400, body=b'{"error":"bad message: what are stream_options, and what is \'stream\'?"}')
    async with ModelServer(in_turn(refused, refused, refused, ANSWER)) as model:
        main = provider(model)
        await failure_of(PulledAnswer(main, PROMPT))
        assert await anext(PulledAnswer(main, PROMPT)) == TextDelta("a")
    assert [set(call.request) & {"stream", "stream_options"} for call in model.connections] == [
        {"stream", "stream_options"},
        {"stream"},
        set(),
        {"stream", "stream_options"},
    ]


async def test_server_that_keeps_refusing_is_not_asked_for_ever() -> None:
    async with ModelServer(in_turn(refusal(400, body=b'{"error":"stream_options, \'stream\'"}'))) as model:
        assert (await failure_of(ask(model.base_url, retries=5))).code == "refused"
        assert len(model.connections) == 3


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"error":{"message":"temperature is not supported","param":"temperature"}}'),
        (400, b'{"error":{"message":"The model cannot stream of consciousness"}}'),
        (401, b"stream_options"),
        (402, b"stream_options"),
        (404, b"stream_options"),
        (409, b"stream_options"),
        (500, b"stream_options"),
    ],
)
async def test_other_refusal_is_not_asked_again(status: int, body: bytes) -> None:
    async with ModelServer(in_turn(refusal(status, body=body))) as model:
        await failure_of(ask(model.base_url))
        assert len(model.connections) == 1


async def test_field_refused_in_the_first_event_is_left_out() -> None:
    refused = event({"error": {"code": 400, "message": "stream_options is not supported"}})
    async with ModelServer(in_turn(HEAD + refused, ANSWER)) as model:
        assert [delta async for delta in ask(model.base_url)] == [TextDelta("a"), Finish("stop")]
        assert ["stream_options" in call.request for call in model.connections] == [True, False]


async def test_field_can_be_left_out_from_the_start() -> None:
    async with ModelServer(sending(ANSWER)) as model:
        assert [delta async for delta in ask(model.base_url, ask_for_usage=False)] == [TextDelta("a"), Finish("stop")]
    assert "stream_options" not in model.connections[0].request


async def test_log_names_the_refused_field_once(caplog: pytest.LogCaptureFixture) -> None:
    async with ModelServer(refusing("stream_options", 400, f"stream_options {SECRET}".encode())) as model:
        main = provider(model)
        for _ in range(2):
            await anext(PulledAnswer(main, PROMPT))
    assert caplog.messages == ["provider main: it refuses stream_options; asked again without"]


# --- prompts that are too long -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_too_long_prompt_has_its_code_and_is_not_asked_again(kind: str) -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 3 > 2 maximum"}}'
    async with ModelServer(in_turn(refusal(400, body=body))) as model:
        error = await failure_of(ask(model.base_url, kind=kind, retries=3))
        assert (error.code, error.retryable, len(model.connections)) == ("prompt_too_long", False, 1)
        assert "too long" in error.message


@pytest.mark.parametrize(
    "body",
    [
        HEAD + event({"error": {"code": "context_length_exceeded"}}),
        HEAD + event({"error": {"message": "the request exceeds the available context size", "code": 400}}),
        HEAD + b'event: error\ndata: {"message":"This model\'s maximum context length is 8 tokens"}\n\n',
        HEAD + event({"object": "error", "message": "The prompt is too long", "code": 400}),
        refusal(200, body=b'{"error":{"type":"exceed_context_size_error"}}'),
        refusal(200, body=b'{"error":"input length exceeds the context length"}'),
    ],
)
async def test_too_long_prompt_that_is_told_in_the_answer_has_its_code(body: bytes) -> None:
    async with ModelServer(in_turn(body)) as model:
        assert (await failure_of(ask(model.base_url, retries=3))).code == "prompt_too_long"
        assert len(model.connections) == 1


async def test_thinking_in_tags_is_told_apart() -> None:
    pieces = [token(text) for text in ("<thi", "nk>\nmusing\n</th", "ink>\n\nFour.")]
    async with ModelServer(sending(HEAD, *pieces, token("", finish_reason="stop"))) as model:
        deltas = [delta async for delta in ask(model.base_url)]
    assert deltas == [ReasoningDelta("musing"), TextDelta("Four."), Finish("stop")]
