"""Bodies are parsed in one step where that succeeds. Clients cannot tell: results and errors are those of two steps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from chatserver.errors import ChatServerError, ValidationError
from chatserver.web.http.parsing import parse_body, parse_json
from chatserver.web.routes import ROUTES

MODELS = [
    operation.request for route in ROUTES for operation in route.operations.values() if operation.request is not None
]
HEADERS = {"Content-Type": "application/json"}
UUID = "0199b0de-0000-7000-8000-000000000001"


def outcome(parse: Any, model: type[BaseModel], *arguments: Any) -> object:
    """What came out: the values and which of them were given, or the error as clients see it."""
    try:
        parsed = parse(model, *arguments)
    except ValidationError as error:
        return type(error), error.message, error.problems
    except ChatServerError as error:
        return type(error), error.message
    assert type(parsed) is model
    return repr(parsed), parsed.model_fields_set


def check(body: bytes) -> None:
    body = body or b" "  # no body at all counts as an empty object
    for model in MODELS:
        assert outcome(parse_body, model, body, HEADERS) == outcome(parse_json, model, body)


# --- JSON that is odd in every way --------------------------------------------------------------------------------

KEYS = sorted(
    {key for model in MODELS for name, field in model.model_fields.items() for key in (name, field.alias or name)}
    | {"provider", "model", "systemPrompt", "system_prompt", "temperature", "maxTokens", "x", "", "__class__"}
)
# Values as they are written.
NUMBERS = ["NaN", "-NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1E+2", "1.0", "-0", "0123", "1.", "+1"]
LONG = ["1" * 400, "1" * 5_000, "[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300]
TEXTS = ['"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\x01"', '"\x7f"', '"NaN"', '"Infinity"']
KNOWN = ['"user"', '"echo"', '"llm"', f'"{UUID}"', f'"{UUID.upper()}"', f'"{{{UUID}}}"', '" "', "true", "null"]
NESTED = ["{}", "[]", '{"provider":"p","maxTokens":1.0}', '{"maxTokens":1.5}', '{"temperature":NaN}']
WRITTEN = st.sampled_from([*NUMBERS, *LONG, *TEXTS, *KNOWN, *NESTED, "", '"', "'x'", "tru"])
VALUES = WRITTEN | st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2)
).map(json.dumps)
OBJECTS = st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=6).map(
    lambda pairs: "{" + ",".join(f"{json.dumps(key)}: {value}" for key, value in pairs) + "}"
)


@given(OBJECTS | VALUES)
@example('{"content":"x","content":5,"role":"user"}')
@example('{"content":5,"content":"x","role":"user"}')
@example('{"content":"x","role":"user","y":NaN}')
@example('{"content":"x","role":"user","y":1e400}')
@example('{"adapterConfig":{"temperature":1e400},"name":"n","adapterType":"llm"}')
@example('{"content":"NaN","role":"user"}')
@example('{"title":null,"title":" "}')
def test_odd_json_is_parsed_as_in_two_steps(text: str) -> None:
    check(text.encode("utf-8", "surrogatepass"))


@given(OBJECTS, st.data())
def test_json_with_a_fault_is_refused_as_in_two_steps(text: str, data: st.DataObject) -> None:
    body = text.encode("utf-8", "surrogatepass")
    at = data.draw(st.integers(0, len(body)))
    check(body[:at])
    check(body[:at] + data.draw(st.binary(min_size=1, max_size=3)) + body[at:])


@pytest.mark.parametrize("model", MODELS)
def test_valid_body_is_parsed_in_one_step(model: type[BaseModel], monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "content": "x",
        "role": "user",
        "messageId": UUID,
        "name": "n",
        "adapterType": "echo",
        "token": "t",
        "text": "x",
    }
    body = json.dumps(values).encode()
    expected = parse_json(model, body)
    monkeypatch.setattr("chatserver.web.http.parsing.parse_json", None)
    assert parse_body(model, body, HEADERS) == expected
