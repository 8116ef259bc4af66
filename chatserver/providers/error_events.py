"""Whether a model reports an error in what it sends with status 200: the one place that decides.

Servers report errors in many shapes, and a report that is missed makes a failed answer look whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chatserver.providers.failures import AttemptError, reported

_ERRORS = ("error", "errors")
_ERROR_CODES = ("error_code", "errorCode", "err_code", "errcode", "error_type")
_ERROR_TEXTS = ("error_message", "errorMessage", "error_msg", "err_msg", "errmsg")
_REPORTING = frozenset({*_ERRORS, *_ERROR_CODES, *_ERROR_TEXTS, "base_resp"})
_TELLING = _REPORTING | {"object", "type"}
# What stands in such fields where there is no error.
_NOTHING = frozenset(("", "0", "200", "none", "null", "nil", "ok", "success", "succeeded", "false", "no", "no error"))
# An event with one of these brings a piece of an answer, or its end.
_PARTS_OF_AN_ANSWER = ("delta", "content", "content_block", "usage", "candidates")
# The ends of the kinds of objects that are errors, in lower case.
_KINDS = ("error", "exception", ".failed")
# Values within values are looked at so deep.
_MAX_DEPTH = 8
_FAILED = re.compile(r"error|exception|fail|fatal|abort|crash|panic", re.IGNORECASE)
_HTTP_FAILURE = re.compile(r"[45][0-9][0-9]")
# A text where an object should stand: `error: engine died`, `[ERROR]`, a gateway's `Internal Server Error`.
_ERROR_TEXT = re.compile(
    r"\W*(?:http )?(?:[45]\d\d )?(?:"
    r"(?:internal |server |upstream |stream |connect |connection |gateway |proxy |fatal )*"
    r"(?:error|exception|traceback)\b"
    r"|bad gateway\b|service (?:temporarily )?unavailable\b|gateway time-?out\b|too many requests\b"
    r"|upstream request timeout\b|stream timeout\b|no healthy upstream\b)",
    re.IGNORECASE,
)
_WEB_PAGE = re.compile(r"\s*<(?:!doctype |html\b)", re.IGNORECASE)
# By these names a bare event gives a status of HTTP, or says what failed. Servers write them in any case.
_STATUSES = ("status", "statuscode", "status_code", "code", "http_status")
_FAILURES = (*_ERRORS, "err", "exception", "fault", "failure", "__type")


def error_of_event(event: Mapping[str, Any], name: str) -> AttemptError | None:
    """The error that an event reports. `name` is the event's name in the stream, or empty."""
    if name and _FAILED.search(name):
        return reported(event.get("error") or event)
    if (error := error_of_part(event)) is not None:
        return error
    if "x_groq" in event and (error := error_of_part(event["x_groq"])) is not None:
        return error
    if event.get("choices") or any(map(event.get, _PARTS_OF_AN_ANSWER)):
        return None
    return _error_of_bare(event)


def error_of_part(part: Any) -> AttemptError | None:
    """The error that an event, or a choice, a delta or a message in it, reports."""
    if not isinstance(part, dict) or _TELLING.isdisjoint(part):
        return None
    if _is_kind_of_error(part.get("object")) or _is_kind_of_error(part.get("type")):
        return reported(part.get("error") or part)
    return None if _REPORTING.isdisjoint(part) else _error_in_fields(part)


def _is_kind_of_error(kind: Any) -> bool:
    return isinstance(kind, str) and kind[-10:].lower().endswith(_KINDS)


def _error_in_fields(part: Mapping[str, Any]) -> AttemptError | None:
    for key in _ERRORS:
        if _says_something(part.get(key)):
            return reported(part[key])
    for key in (*_ERROR_CODES, *_ERROR_TEXTS):
        if _says_something(part.get(key)):
            return reported(part)
    answered = part.get("base_resp")
    if isinstance(answered, dict) and _says_something(answered.get("status_code")):
        return reported(answered)
    return None


def error_of_text(text: str, name: str) -> AttemptError | None:
    """The error that an event reports whose data is a text, and no object. Gateways send web pages, too."""
    if _WEB_PAGE.match(text):
        return AttemptError("bad_response", "a web page in place of an answer")
    return reported(text) if (name and _FAILED.search(name)) or _ERROR_TEXT.match(text) else None


def _error_of_bare(event: Mapping[str, Any]) -> AttemptError | None:
    """The error that an event reports which brings nothing of an answer."""
    fields = {key.lower(): value for key, value in event.items()}
    failed = (
        any(_says_something(fields.get(key)) for key in _FAILURES)
        # An exception without a text. In a chunk without a choice it says as little as null.
        or ("choices" not in fields and (fields.get("error") == "" or isinstance(fields.get("error"), dict)))
        or any(map(_is_failure_status, map(fields.get, _STATUSES)))
        or fields.get("success") is False
        or fields.get("ok") is False
        or _tells_of_failure(fields)
    )
    return reported(fields.get("error") or event) if failed else None


def _is_failure_status(status: Any) -> bool:
    if isinstance(status, str):
        return _FAILED.search(status) is not None or _HTTP_FAILURE.fullmatch(status) is not None
    return isinstance(status, int) and 400 <= status < 600


def _tells_of_failure(fields: Mapping[str, Any]) -> bool:
    """Whether the message of a bare event is that of a failure."""
    told = next((fields[key] for key in ("message", "msg", "detail") if isinstance(fields.get(key), str | list)), None)
    if not told:
        return False
    if _says_something(fields.get("code")) or "detail" in fields:
        return True
    return isinstance(told, str) and _ERROR_TEXT.match(told) is not None


def _says_something(value: Any, depth: int = _MAX_DEPTH) -> bool:
    """Whether a field for errors is filled in. What is nested deeper than `depth` counts as filled in."""
    if isinstance(value, str):
        return value.strip().lower() not in _NOTHING
    if depth and isinstance(value, dict | list):
        return any(
            _says_something(inner, depth - 1) for inner in (value.values() if isinstance(value, dict) else value)
        )
    return bool(value) and value != 200
