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
_FAILED = re.compile(r"error|exception|fail", re.IGNORECASE)
# A text where an object should stand: `error: engine died`, `[ERROR]`, `Internal Server Error`.
_ERROR_TEXT = re.compile(r"\W*(?:internal |server |upstream |stream )*(?:error|exception|traceback)\b", re.IGNORECASE)


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
    """The error that an event reports whose data is a text, and no object."""
    return reported(text) if (name and _FAILED.search(name)) or _ERROR_TEXT.match(text) else None


def _error_of_bare(event: Mapping[str, Any]) -> AttemptError | None:
    """The error that an event reports which brings nothing of an answer."""
    if event.get("error") in ("", {}):
        return reported(event)  # an exception without a text
    told = next((event[key] for key in ("message", "msg", "detail") if isinstance(event.get(key), str | list)), None)
    if told and (_says_something(event.get("code")) or "detail" in event):
        return reported(event)
    status = event.get("status")
    if isinstance(status, int) and status >= 400:
        return reported(event)
    failed = isinstance(status, str) and _FAILED.search(status)
    return reported(event) if failed or event.get("success") is False or event.get("ok") is False else None


def _says_something(value: Any) -> bool:
    """Whether a field for errors is filled in."""
    if isinstance(value, str):
        return value.strip().lower() not in _NOTHING
    if isinstance(value, dict):
        return any(_says_something(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_says_something(inner) for inner in value)
    return bool(value) and value != 200
