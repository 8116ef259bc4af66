"""Failures: the codes that statuses and error words become, and the waits before a request is sent again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.failures import MAX_WAIT_SECONDS, AttemptError, refused, reported, wait_seconds

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
