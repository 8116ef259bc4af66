"""How a try to get an answer fails: the providers' statuses and error words become our errors.

Messages go to clients and are our own sentences. Reasons go to the log: they hold a status or a word such as
`overloaded_error`, never the provider's text, the URL or the key.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from chatserver.errors import ErrorCode, ProviderError
from chatserver.providers.prompt_length import TOO_LONG_WORDS, tells_of_too_long_prompt

# The longest wait before a request is sent again. A model that asks for a longer one is not asked again: the
# reader gets the error at once.
MAX_WAIT_SECONDS = 20.0
FIRST_WAIT_SECONDS = 0.5

_MESSAGES: Mapping[ErrorCode, str] = {
    "rate_limited": "The model takes no more requests at the moment",
    "unauthorized": "The model's provider does not accept this server's key",
    "unavailable": "The model is not available at the moment",
    "timeout": "The model took too long to answer",
    "interrupted": "The model's answer broke off",
    "bad_response": "The model's provider gave a response that cannot be used",
    "refused": "The model's provider refused the request",
    "prompt_too_long": (
        "This conversation is too long for the model. Begin a new conversation, or branch from an earlier message"
    ),
    "internal": "The answer could not be generated",
}

# The `code` and `type` of error objects, from OpenAI, Anthropic and compatible servers. Only these words are repeated:
# others may contain a key, or a part of a message.
_WORDS: Mapping[str, ErrorCode] = {
    **dict.fromkeys(TOO_LONG_WORDS, "prompt_too_long"),
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
    "billing_error": "refused",
    "content_policy_violation": "refused",
    "invalid_request_error": "refused",
    "invalid_value": "refused",
    "model_not_found": "refused",
    "not_found_error": "refused",
    "unknown_parameter": "refused",
    "unsupported_parameter": "refused",
    "unsupported_value": "refused",
}


# The statuses with which servers refuse a prompt that is too long; some answer 500. 413 needs no further words.
_REFUSING_STATUSES = (400, 422, 500)
# The statuses with which servers refuse a field of a request.
_FIELD_REFUSING_STATUSES = (400, 422)
# Of the text of an error so much is looked at.
_TEXT_CHARS = 16_384


class AttemptError(ProviderError):
    """One try to get an answer failed

    `reason` is for the log and says more than the message. `again`: the same request may succeed in a moment.
    `wait_seconds`: how long the model asked to wait (None: it did not say). `text` is what the provider said, in lower
    case, if it may name a field that it refuses; it may hold secrets, and is only searched.
    """

    def __init__(
        self,
        code: ErrorCode,
        reason: str,
        *,
        message: str | None = None,
        again: bool = False,
        wait_seconds: float | None = None,
        text: str = "",
    ) -> None:
        super().__init__(code, message or _MESSAGES[code])
        self.reason = reason
        self.again = again
        self.wait_seconds = wait_seconds
        self.text = text


def refused(status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
    """The failure that an HTTP response means. Of `body`, its beginning, only an error word is repeated."""
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        error = body.decode("utf-8", "replace")
    word = _word_of(error)
    code = _code_of_status(status)
    if _is_too_long(status, word, error):
        code = "prompt_too_long"
    message = f"{_MESSAGES[code]} (HTTP status {status})" if code == "refused" else None
    return AttemptError(
        code,
        f"HTTP status {status}" + (f", {word}" if word else ""),
        message=message,
        again=code != "prompt_too_long" and (status == 429 or status >= 500),
        wait_seconds=_retry_after_seconds(headers.get("Retry-After", "")),
        text=_text_of(error) if status in _FIELD_REFUSING_STATUSES else "",
    )


def reported(error: Any) -> AttemptError:
    """The failure that an error means which is reported with status 200: an object, or anything else."""
    status = _status_of(error)
    word = _word_of(error)
    if _is_too_long(status or 400, word, error):
        code: ErrorCode = "prompt_too_long"
    elif status is not None:
        code = _code_of_status(status)
    else:
        code = _WORDS[word] if word else "unavailable"
    reason = f"the model reported {word or 'an error'}"
    return AttemptError(code, reason, again=code in ("rate_limited", "unavailable"), text=_text_of(error))


def _is_too_long(status: int, word: str | None, error: Any) -> bool:
    if status in (401, 403, 429):
        return False
    if status == 413 or word in TOO_LONG_WORDS:
        return True
    sentences = "\n".join(_strings(error, 8))[:_TEXT_CHARS].lower()
    return any(each in sentences for each in TOO_LONG_WORDS) or (
        status in _REFUSING_STATUSES and tells_of_too_long_prompt(sentences)
    )


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
    return "unavailable" if status >= 500 else "refused"


def _word_of(error: Any) -> str | None:
    """The error word of an error object, or of the object that holds it, if we know it.

    `code` is more precise than `type`, and both than `status`.
    """
    if isinstance(error, list) and error:  # Google puts its errors into a list
        error = error[0]
    if not isinstance(error, dict):
        return None
    if isinstance(error.get("error"), dict):
        error = error["error"]
    names = (error.get(key) for key in ("code", "type", "error_type", "status"))
    return next((name.lower() for name in names if isinstance(name, str) and name.lower() in _WORDS), None)


def _status_of(error: Any) -> int | None:
    """The HTTP status that an error holds, or is."""
    values = [error]
    if isinstance(error, dict):
        values = [error.get(key) for key in ("code", "status", "status_code", "http_code", "error_code")]
        inner = error.get("error")
        values += [inner.get("code"), inner.get("status")] if isinstance(inner, dict) else [inner]
    for value in values:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{3}", value) else value
        if isinstance(number, int) and 400 <= number <= 599:
            return number
    return None


def _text_of(error: Any) -> str:
    try:
        text = error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""
    return text[:_TEXT_CHARS].lower()


def _strings(error: Any, depth: int) -> Iterator[str]:
    """The texts in an error, without the keys."""
    if isinstance(error, str):
        yield error
    elif depth and isinstance(error, dict | list):
        for inner in error.values() if isinstance(error, dict) else error:
            yield from _strings(inner, depth - 1)


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
