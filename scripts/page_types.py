"""Writes the TypeScript types of the API for the chat page from the server's own OpenAPI document.

Run as `python -m scripts.page_types` after a change of the API. A test fails while the written file is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from chatserver.settings import Settings
from chatserver.web.openapi.document import describe
from chatserver.web.routes import ROUTES

TYPES = Path(__file__).resolve().parents[1] / "chatserver" / "web" / "page" / "api-types.d.ts"
HEAD = "// Written by `python -m scripts.page_types` from the OpenAPI document, which also says what each field means."
MOST_COLUMNS = 120
_NAMES_OF_TYPES = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def typescript(document: dict[str, Any]) -> str:
    """The namespace `Api`: a type for each schema, and `…Query` for the query of each operation that has one."""
    lines = [HEAD, "", "declare namespace Api {"]
    for name, schema in document["components"]["schemas"].items():
        lines += _declaration(name, schema)
    for path in document["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and (fields := _query(operation)):
                name = operation["operationId"]
                lines += _interface(f"{name[0].upper()}{name[1:]}Query", fields)
    return "\n".join([*lines, "}", ""])


def _declaration(name: str, schema: dict[str, Any]) -> Iterator[str]:
    if "properties" in schema:
        required = schema.get("required", ())
        fields = [(key, key in required, value) for key, value in schema["properties"].items()]
        yield from _interface(name, fields)
    else:
        yield f"\ttype {name} = {_type(schema)};"


def _interface(name: str, fields: Iterable[tuple[str, bool, dict[str, Any]]]) -> Iterator[str]:
    yield f"\tinterface {name} {{"
    for key, is_required, schema in fields:
        line = f"\t\t{key}{'' if is_required else '?'}: {_type(schema)};"
        yield line if len(line) <= MOST_COLUMNS else line.replace(" | ", "\n\t\t\t| ")
    yield "\t}"


def _query(operation: dict[str, Any]) -> list[tuple[str, bool, dict[str, Any]]]:
    parameters = [parameter for parameter in operation.get("parameters", ()) if parameter.get("in") == "query"]
    return [(parameter["name"], parameter.get("required", False), parameter["schema"]) for parameter in parameters]


def _type(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": str(reference)}:
            return reference.rpartition("/")[2]
        case {"const": value}:
            return json.dumps(value)
        case {"enum": values}:
            return " | ".join(map(json.dumps, values))
        case {"anyOf": choices} | {"oneOf": choices}:
            return " | ".join(map(_type, choices))
        case {"type": "array", "items": items}:
            item = _type(items)
            return f"({item})[]" if " | " in item else f"{item}[]"
        case {"type": "object"}:
            return "Record<string, unknown>"
        case {"type": str(name)}:
            return _NAMES_OF_TYPES[name]
    raise ValueError(f"No TypeScript type for {schema}")


if __name__ == "__main__":
    TYPES.write_text(typescript(describe(ROUTES, Settings(), "0")), encoding="utf-8")
