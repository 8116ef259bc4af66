"""All errors, as one tree. The docstring of a class is its default message.

The web layer maps them to statuses in one table, in `chatserver/web/http/`; nothing in here knows HTTP.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args


class ChatServerError(Exception):
    """Internal server error"""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or "").partition("\n")[0])

    @property
    def message(self) -> str:
        return str(self.args[0])


# --- what a client did wrong ------------------------------------------------------------------------------


class Problem(NamedTuple):
    """One fault of a body or query: `path` is dotted and camelCase."""

    path: str
    message: str


class ValidationError(ChatServerError):
    """Validation error"""

    def __init__(self, problems: Sequence[Problem] = (), message: str | None = None) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class MalformedError(ChatServerError):
    """Malformed request"""


class NotSignedInError(ChatServerError):
    """Sign in first"""


class BadTokenError(NotSignedInError):
    """The token is not valid, or not any more"""


class ForbiddenError(ChatServerError):
    """Not allowed"""


class NotFoundError(ChatServerError):
    """Not found"""


class ConflictError(ChatServerError):
    """Conflicts with what is going on"""


class RequestTooSlowError(ChatServerError):
    """The request took too long to arrive"""


class BodyTooLargeError(ChatServerError):
    """Request body is too large"""


class UnsupportedMediaTypeError(ChatServerError):
    """Content-Type must be application/json"""


class UnprocessableError(ChatServerError):
    """The request cannot be carried out"""


# --- what passes ------------------------------------------------------------------------------------------


class TryLaterError(ChatServerError):
    """Try again later"""

    def __init__(self, message: str | None = None, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


Bound = Literal["requests_per_minute", "company_max_runs", "company_max_streams", "bad_credentials", "failed_sign_ins"]
"""What bounds one client or one company: settings, and what is bounded always."""
BOUNDS: tuple[Bound, ...] = get_args(Bound)


class RateLimitedError(TryLaterError):
    """Too many requests

    `bound`: what refuses it, for the metrics.
    """

    def __init__(self, message: str | None = None, *, retry_after_seconds: int = 1, bound: Bound | None = None) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.bound = bound


class UnavailableError(TryLaterError):
    """Temporarily unavailable"""


class DatabaseUnavailableError(UnavailableError):
    """The database is not available"""


# --- what a model did wrong -------------------------------------------------------------------------------

ErrorCode = Literal[
    "rate_limited",
    "unauthorized",
    "unavailable",
    "timeout",
    "interrupted",
    "bad_response",
    "refused",
    "prompt_too_long",
    "answer_too_long",
    "internal",
]

RETRYABLE: frozenset[ErrorCode] = frozenset(
    {"rate_limited", "unavailable", "timeout", "interrupted", "bad_response", "internal"}
)


class ProviderError(ChatServerError):
    """The model could not answer

    `code` says how it failed. The message goes to clients: it holds no key, no URL, and no text of the provider.
    `in_pause`: the model had hung up by the time at which its consumer came back from a pause.
    """

    def __init__(self, code: ErrorCode, message: str, *, in_pause: bool = False) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.in_pause = in_pause

    @property
    def retryable(self) -> bool:
        """Whether the same question may succeed later."""
        return self.code in RETRYABLE


# --- what the operator has to mend ------------------------------------------------------------------------


class ConfigurationError(ChatServerError):
    """The server cannot start as it is configured

    The message is the one line that a failed start prints.
    """
