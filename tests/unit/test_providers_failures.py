"""Failures: the codes that statuses and error words become, and the waits before a request is sent again."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.failures import MAX_WAIT_SECONDS, AttemptError, refused, reported, wait_seconds
from chatserver.providers.prompt_length import TOO_LONG_WORDS

SECRET = "sk-proj-0123456789abcdef"


@pytest.mark.parametrize(
    ("status", "code", "again"),
    [
        (301, "refused", False),
        (400, "refused", False),
        (401, "unauthorized", False),
        (403, "unauthorized", False),
        (404, "refused", False),
        (408, "timeout", False),
        (413, "prompt_too_long", False),
        (422, "refused", False),
        (429, "rate_limited", True),
        (500, "unavailable", True),
        (502, "unavailable", True),
        (503, "unavailable", True),
        (504, "timeout", True),
        (529, "unavailable", True),
    ],
)
def test_status_becomes_an_error_code(status: int, code: str, again: bool) -> None:
    failure = refused(status, {}, b"")
    assert (failure.code, failure.again, failure.reason) == (code, again, f"HTTP status {status}")


def test_refused_request_has_the_status_in_its_message() -> None:
    assert "404" in refused(404, {}, b"").message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": {"type": "invalid_request_error", "code": "model_not_found"}}, "HTTP status 400, model_not_found"),
        ({"error": {"type": "invalid_request_error", "code": None}}, "HTTP status 400, invalid_request_error"),
        ({"error": {"type": "hunter", "code": "my_secret_key"}}, "HTTP status 400"),
        ({"error": {"type": SECRET, "code": "Bad key " + SECRET}}, "HTTP status 400"),
        ({"error": SECRET}, "HTTP status 400"),
        ([SECRET], "HTTP status 400"),
    ],
)
def test_reason_holds_an_error_word_and_no_text_of_the_provider(body: object, reason: str) -> None:
    failure = refused(400, {}, json.dumps(body).encode())
    assert failure.reason == reason
    assert SECRET not in failure.message


@given(st.binary())
def test_any_error_body_is_accepted(body: bytes) -> None:
    assert refused(500, {}, body).code == "unavailable"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"type": "overloaded_error"}, "unavailable"),
        ({"type": "api_error"}, "unavailable"),
        ({"type": "rate_limit_error"}, "rate_limited"),
        ({"type": "authentication_error"}, "unauthorized"),
        ({"type": "timeout_error"}, "timeout"),
        ({"type": "invalid_request_error"}, "refused"),
        ({"type": "requests", "code": "rate_limit_exceeded"}, "rate_limited"),
        ({"type": "server_error", "code": 500}, "unavailable"),
        ({"type": "invalid_request_error", "code": 400}, "refused"),
        ({"code": True}, "unavailable"),
        ("overloaded", "unavailable"),
        ([], "unavailable"),
    ],
)
def test_reported_error_becomes_an_error_code(error: object, code: str) -> None:
    assert reported(error).code == code


# --- a prompt that is too long ----------------------------------------------------------------------------------

# What servers say: OpenAI, Azure, vLLM, SGLang, llama.cpp, Ollama, LM Studio, Anthropic, Bedrock, Gemini, Mistral,
# Cohere, xAI, Groq, Text Generation Inference, Together, Moonshot, MiniMax, DashScope, GitHub, Zhipu.
TOO_LONG = [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
    "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "The decoder prompt (length 40000) is longer than the maximum model length of 32768.",
    "The prompt (total length 5000) is too long to fit into the model (context length 4096)",
    "The input (40000 tokens) is longer than the model's context length (32768 tokens).",
    "the request exceeds the available context size, try increasing it",
    "input is too large to process. increase the physical batch size",
    "prompt too long; exceeded max context length by 12 tokens",
    "the input length exceeds the context length",
    "Trying to keep the first 9001 tokens when context overflows. The model is loaded with context length of 4096",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
    "Input is too long for requested model.",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).",
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 6000",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Please reduce the length of the messages or completion.",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
    "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000",
    "Invalid request: Your request exceeded model token limit: 8192",
    "invalid params, context window exceeds limit",
    "Range of input length should be [1, 30720]",
    "prompt token count of 70000 exceeds the limit of 64000",
    "Prompt 超长",
]
OTHERS = [
    "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
    "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens",
    "The model `gpt-9` does not exist",
    "Unrecognized request argument supplied: stream_options",
    "Conversation roles must alternate user/assistant/user/assistant",
    "temperature: range: 0..1",
    "Invalid value for 'top_p'",
    "Your credit balance is too low",
    "image is too large",
    "",
]


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("text", TOO_LONG)
def test_prompt_that_is_too_long_is_recognised(status: int, text: str) -> None:
    for body in (
        {"error": {"message": text, "type": "invalid_request_error"}},
        {"error": text},
        {"detail": text},
        text,
    ):
        failure = refused(status, {}, json.dumps(body).encode())
        assert (failure.code, failure.again, failure.retryable) == ("prompt_too_long", False, False)
        assert reported(body).code == "prompt_too_long"
    assert refused(status, {}, text.encode()).code == "prompt_too_long"


@pytest.mark.parametrize("word", sorted(TOO_LONG_WORDS))
def test_word_for_a_prompt_that_is_too_long_is_recognised(word: str) -> None:
    for status in (400, 404, 413, 422, 500):
        failure = refused(status, {}, json.dumps({"error": {"code": word}}).encode())
        assert (failure.code, failure.again, failure.reason) == (
            "prompt_too_long",
            False,
            f"HTTP status {status}, {word}",
        )
    assert reported({"type": word}).code == "prompt_too_long"


@pytest.mark.parametrize("text", OTHERS)
def test_other_refusal_is_no_prompt_that_is_too_long(text: str) -> None:
    assert refused(400, {}, json.dumps({"error": {"message": text}}).encode()).code == "refused"


def test_hostile_error_text_takes_less_than_a_tenth_of_a_second() -> None:
    error = {"message": "text " * 16 + "exceed" + "a" * 16_000}
    begun = time.process_time()
    assert reported(error).code == "unavailable"
    assert time.process_time() - begun < 0.1


def test_rate_limit_is_no_prompt_that_is_too_long() -> None:
    text = b"Request too large for gpt-4 on tokens per min: the prompt exceeds the token limit"
    assert refused(429, {}, text).code == "rate_limited"
    assert reported({"code": 429, "message": text.decode()}).code == "rate_limited"


# --- asking again ------------------------------------------------------------------------------------------


def test_backoff_grows_up_to_a_bound() -> None:
    waits = [wait_seconds(AttemptError("unavailable", "", again=True), attempt) for attempt in range(12)]
    assert all(wait is not None for wait in waits)
    for attempt, wait in enumerate(waits[:5]):
        assert 0.5 * 2**attempt <= (wait or 0) <= 0.5 * 2**attempt + 0.5
    assert waits[-1] is not None
    assert waits[-1] <= MAX_WAIT_SECONDS + 0.5


def test_lasting_failure_is_not_tried_again() -> None:
    assert wait_seconds(AttemptError("unauthorized", ""), 0) is None


def retry_after(value: str) -> float | None:
    return wait_seconds(refused(429, {"Retry-After": value}, b""), 0)


def test_retry_after_in_seconds_is_read() -> None:
    assert 7 <= (retry_after("7") or 0) <= 7.5
    assert 0 <= (retry_after(" 0 ") or 0) <= 0.5
    assert retry_after("21") is None
    assert retry_after("9" * 400) is None


def test_retry_after_as_a_date_is_read() -> None:
    now = datetime.now(UTC)
    assert 5 <= (retry_after(format_datetime(now + timedelta(seconds=8), usegmt=True)) or 0) <= 8.5
    assert 0 <= (retry_after(format_datetime(now - timedelta(days=1), usegmt=True)) or 0) <= 0.5
    assert retry_after(format_datetime(now + timedelta(hours=1), usegmt=True)) is None
    assert 0 <= (retry_after("Thu, 01 Jan 1970 00:00:00 -0000") or 0) <= 0.5


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "٣", "Mon, 99 Foo 99999999999999999999 99:99:99 GMT"])
def test_malformed_retry_after_is_ignored(value: str) -> None:
    assert 0.5 <= (retry_after(value) or 0) <= 1.0
