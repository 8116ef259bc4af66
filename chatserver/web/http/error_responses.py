"""Errors as responses: the one table error → status, and the body."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import responses

import tornado.web

from chatserver.errors import (
    BodyTooLargeError,
    ChatServerError,
    ConflictError,
    ForbiddenError,
    MalformedError,
    NotFoundError,
    NotSignedInError,
    RateLimitedError,
    RequestTooSlowError,
    TryLaterError,
    UnprocessableError,
    UnsupportedMediaTypeError,
    ValidationError,
)
from chatserver.schemas import Detail, Error

STATUSES: Mapping[type[BaseException], int] = {
    ValidationError: 400,
    MalformedError: 400,
    NotSignedInError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    RequestTooSlowError: 408,
    ConflictError: 409,
    BodyTooLargeError: 413,
    UnsupportedMediaTypeError: 415,
    UnprocessableError: 422,
    RateLimitedError: 429,
    TryLaterError: 503,
}
"""An error has the status of its nearest ancestor in this table. An error without one is a defect of ours: 500."""


def status_of(error: BaseException | None) -> int:
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)


def error_response(error: BaseException | None) -> tuple[int, Error]:
    """Status and body of the response to an error. The body tells nothing about a defect of ours."""
    if isinstance(error, tornado.web.HTTPError):
        if error.status_code != 400:
            phrase = responses.get(error.status_code, "Refused")
            return error.status_code, Error(error=phrase.capitalize())
        error = UnsupportedMediaTypeError()  # Tornado's only 400: a form that it could not parse
    status = status_of(error)
    if status == 500 or not isinstance(error, ChatServerError):
        return 500, Error(error=ChatServerError().message)
    problems = error.problems if isinstance(error, ValidationError) else ()
    details = [Detail(path=problem.path, message=problem.message) for problem in problems]
    return status, Error(error=error.message, details=details or None)
