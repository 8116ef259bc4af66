"""How a try to get an answer fails: the providers' statuses and error words become our errors.

Messages go to clients and are our own sentences. Reasons go to the log: they hold a status or a word such as
`overloaded_error`, never the provider's text, the URL or the key.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from chatserver.errors import ErrorCode, ProviderError

# The longest wait before a request is sent again. A model that asks for a longer one is not asked again: the
# reader gets the error at once.
MAX_WAIT_SECONDS = 20.0
FIRST_WAIT_SECONDS = 0.5

_MESSAGES: Mapping[ErrorCode, str] = {
    "rate_limited": "The model takes no more requests at the moment",
    "unauthorized": "The model's provider does not accept this server's credentials",
    "unavailable": "The model is not available at the moment",
    "timeout": "The model took too long to answer",
    "interrupted": "The model's answer broke off",
    "bad_response": "The model's provider gave a response that cannot be used",
    "internal": "The answer could not be generated",
}

# The `code` and `type` of error objects, from OpenAI, Anthropic and compatible servers. Only these words are repeated:
# others may contain a key, or a part of a message.
_WORDS: Mapping[str, ErrorCode] = {
    "authentication_error": "unauthorized",
    "permission_error": "unauthorized",
    "invalid_api_key": "unauthorized",
    "rate_limit_error": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
    "insufficient_quota": "rate_limited",
    "timeout_error": "timeout",
    "api_error": "unavailable",
    "overloaded_error": "unavailable",
    "server_error": "unavailable",
    "billing_error": "bad_response",
    "content_policy_violation": "bad_response",
    "context_length_exceeded": "bad_response",
    "exceed_context_size_error": "bad_response",
    "invalid_request_error": "bad_response",
    "invalid_value": "bad_response",
    "model_not_found": "bad_response",
    "not_found_error": "bad_response",
    "request_too_large": "bad_response",
    "unknown_parameter": "bad_response",
    "unsupported_parameter": "bad_response",
    "unsupported_value": "bad_response",
}


class AttemptError(ProviderError):
    """One try to get an answer failed

    `reason` is for the log and says more than the message. `again`: the same request may succeed in a moment.
    `wait_seconds`: how long the model asked to wait (None: it did not say).
    """

    def __init__(
        self,
        code: ErrorCode,
        reason: str,
        *,
        message: str | None = None,
        again: bool = False,
        wait_seconds: float | None = None,
    ) -> None:
        super().__init__(code, message or _MESSAGES[code])
        self.reason = reason
        self.again = again
        self.wait_seconds = wait_seconds


def refused(status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
    """The failure that an HTTP response means. Only an error word of `body`, its beginning, is used."""
    code = _code_of_status(status)
    message = None
    if code == "bad_response":
        message = f"The model's provider refused the request (HTTP status {status})"
    word = _error_word(body)
    return AttemptError(
        code,
        f"HTTP status {status}" + (f", {word}" if word else ""),
        message=message,
        again=status == 429 or status >= 500,
        wait_seconds=_retry_after_seconds(headers.get("Retry-After", "")),
    )


def reported(error: Any) -> AttemptError:
    """The failure that an error object within a stream means."""
    status = error.get("code") if isinstance(error, dict) else None
    word = _word_of(error)
    if isinstance(status, int) and 400 <= status <= 599:
        code = _code_of_status(status)
    else:
        code = _WORDS[word] if word else "unavailable"
    reason = f"the model reported {word or 'an error'}"
    return AttemptError(code, reason, again=code in ("rate_limited", "unavailable"))


def wait_seconds(failure: AttemptError, attempt: int) -> float | None:
    """How long to wait after try number `attempt` (from 0) before the next; None: do not try again."""
    if not failure.again:
        return None
    if failure.wait_seconds is None:
        wait = min(FIRST_WAIT_SECONDS * 2.0**attempt, MAX_WAIT_SECONDS)
    elif failure.wait_seconds <= MAX_WAIT_SECONDS:
        wait = failure.wait_seconds
    else:
        return None
    # Random, so that requests that failed together do not come back together.
    return wait + random.uniform(0, FIRST_WAIT_SECONDS)  # noqa: S311


def _code_of_status(status: int) -> ErrorCode:
    if status in (401, 403):
        return "unauthorized"
    if status == 429:
        return "rate_limited"
    if status in (408, 504):
        return "timeout"
    return "unavailable" if status >= 500 else "bad_response"


def _error_word(body: bytes) -> str | None:
    try:
        return _word_of(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _word_of(error: Any) -> str | None:
    """The error word of an error object, if we know it; `code` is more precise than `type`."""
    if not isinstance(error, dict):
        return None
    names = (error.get("code"), error.get("type"))
    return next((name for name in names if isinstance(name, str) and name in _WORDS), None)


def _retry_after_seconds(value: str) -> float | None:
    """`Retry-After` in seconds from now (RFC 9110, section 10.2.3); None if it is missing or malformed."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": UTC, source unknown
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
