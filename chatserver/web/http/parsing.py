"""Parsing bodies and queries into models. Every fault becomes one of our errors. Nothing of Tornado in here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, TypeVar
from urllib.parse import unquote_to_bytes
from uuid import UUID

import pydantic
from pydantic import BaseModel, BeforeValidator, Field, StringConstraints
from pydantic_core import ErrorDetails, from_json

from chatserver.errors import MalformedError, Problem, UnsupportedMediaTypeError, ValidationError
from chatserver.schema_types import Text, parse_uuid

M = TypeVar("M", bound=BaseModel)

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UTF_8 = frozenset({"utf-8", "utf8"})


# --- paths ------------------------------------------------------------------------------------------------


def parse_id(text: str) -> UUID:
    """Parse an id of a path. Raises MalformedError."""
    try:
        return parse_uuid(text)
    except ValueError:
        raise MalformedError("Malformed id") from None


def path_argument(text: str) -> str:
    """A segment of a path without its escapes. Raises MalformedError."""
    if "%" not in text and text.isascii():
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise MalformedError("Malformed path") from None


# --- bodies -----------------------------------------------------------------------------------------------


def is_json(content_type: str | None) -> bool:
    """Whether a Content-Type means JSON in UTF-8."""
    media_type, _, parameters = (content_type or "").partition(";")
    if media_type.strip().lower() != "application/json":
        return False
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in _UTF_8:
            return False
    return True


def parse_body(model: type[M], body: bytes, headers: Mapping[str, str]) -> M:
    """Parse a body as a `model`; an empty body counts as `{}`.

    Raises UnsupportedMediaTypeError, MalformedError (not JSON) and ValidationError (not valid for the model).
    """
    if not body:
        return validate(model, {})
    if not is_json(headers.get("Content-Type")):
        raise UnsupportedMediaTypeError
    if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError("Content-Encoding is not supported")
    if b"NaN" not in body and b"Infinity" not in body:  # which pydantic's own parser would accept
        try:
            return model.model_validate_json(body, by_alias=True, by_name=False)
        except pydantic.ValidationError:
            pass  # what is wrong is found out step by step
    return parse_json(model, body)


def parse_json(model: type[M], body: bytes) -> M:
    """Parse JSON as a `model`, step by step. Raises MalformedError (not JSON) and ValidationError."""
    try:
        # RFC 8259 has no NaN and no Infinity. The parser bounds nesting.
        data = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise MalformedError("Malformed JSON") from None
    return validate(model, data)


def validate(model: type[M], data: object) -> M:
    """Validate `data`, whose keys are camelCase, as a `model`. Raises ValidationError."""
    if not isinstance(data, dict):
        raise ValidationError([Problem("", "must be an object")])
    try:
        return model.model_validate(data, by_alias=True, by_name=False)
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise ValidationError([_problem(detail) for detail in details]) from None


def _problem(detail: ErrorDetails) -> Problem:
    message = detail["msg"].removeprefix("Value error, ")
    # pydantic speaks of items of a text, too, if the text has a validator of ours.
    if detail["type"] == "too_short":
        message = "must not be empty"
    elif detail["type"] == "too_long":
        what = "items" if detail["ctx"]["field_type"] == "List" else "characters"
        message = f"must have at most {detail['ctx']['max_length']} {what}"
    return Problem(".".join(map(str, detail["loc"])), message)


# --- queries ----------------------------------------------------------------------------------------------


def parse_query(model: type[M], query: str) -> M:
    """Parse the query of a request as a `model`. Unknown parameters are ignored.

    Raises ValidationError, also for a parameter that is given twice or is not UTF-8.
    """
    known = _names(model)
    values: dict[str, str] = {}
    for part in query.split("&"):
        name, _, raw = part.partition("=")
        if name not in known:
            continue
        if name in values:
            raise ValidationError([Problem(name, "is given more than once")])
        values[name] = _decode(name, raw)
    return validate(model, values)


@cache
def _names(model: type[BaseModel]) -> frozenset[str]:
    """The names of the parameters that a model knows."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def _decode(name: str, raw: str) -> str:
    if raw.isascii() and "%" not in raw and "+" not in raw:
        return raw
    if _BROKEN_ESCAPE.search(raw):
        raise ValidationError([Problem(name, "has a broken percent escape")])
    try:
        # Tornado decodes the request line as Latin-1. Unescaped bytes must be checked here.
        return unquote_to_bytes(raw.replace("+", " ").encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise ValidationError([Problem(name, "is not UTF-8")]) from None


def _whole(value: object) -> object:
    if isinstance(value, str):
        if not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
            raise ValueError("must be a whole number")
        return int(value)
    return value


# Comes after the bounds: else pydantic leaves them out of the JSON Schema.
WHOLE_NUMBER = BeforeValidator(_whole)
Cursor = Annotated[
    Text,
    StringConstraints(min_length=1),
    Field(description="The `nextCursor` of the page before, for the same list under the same filters."),
]
