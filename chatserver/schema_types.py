"""The base of the models in `schemas.py` and `message_schemas.py`, and the types of ids, texts and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Wire(BaseModel):
    """Base of all bodies and queries: camelCase keys, unknown keys ignored, no coercion between types."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, strict=True, defer_build=True
    )


def absent_is_no_default(schema: JsonDict) -> None:
    """`json_schema_extra` that removes `default`: omitting a key differs from sending its default (PATCH)."""
    properties = schema["properties"]
    assert isinstance(properties, dict)
    for each in properties.values():
        assert isinstance(each, dict)
        each.pop("default", None)


def parse_uuid(text: str) -> UUID:
    """Parse an id in the 36-character form.

    Raises ValueError for anything else. `uuid.UUID` itself would accept braces, URNs and missing hyphens.
    """
    if _UUID.fullmatch(text) is None:
        raise ValueError("must be a UUID in its 36-character form")
    return UUID(text)


def to_json(resource: BaseModel) -> bytes:
    """A resource as the JSON of a response: as `model_dump_json`, which costs twice as much, with camelCase keys."""
    return resource.__pydantic_serializer__.to_json(resource, by_alias=True)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`."""
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return in_utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _uuid(value: object) -> object:
    return parse_uuid(value) if isinstance(value, str) else value


def _storable(value: object) -> object:
    """Refuse what PostgreSQL cannot store in a text: NUL and lone surrogates."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("must not contain NUL characters")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("must not contain lone surrogates") from None
    return value


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


Id = Annotated[UUID, BeforeValidator(_uuid)]
Text = Annotated[str, BeforeValidator(_storable), Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})]
Time = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

WHOLE = BeforeValidator(_whole)
"""For an int: in JSON 1.0 is the same as 1 (JSON Schema 2020-12, section 4.2.3)."""

BLANK_IS_NONE = BeforeValidator(_blank_is_none)
"""For a text that may be None."""
