"""The OpenAPI document: valid, complete, the same as the route table, and true of what the server sends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from chatserver.errors import ErrorCode
from chatserver.settings import Settings
from chatserver.settings_tables import ProviderSettings
from chatserver.web.http.error_responses import STATUSES
from chatserver.web.openapi.document import REFUSALS, describe
from chatserver.web.openapi.examples import EXAMPLES
from chatserver.web.openapi.operations import Operation, Route
from chatserver.web.routes import ROUTES
from tests.kit.http_client import stream_path
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving
from tests.web.conftest import Api

DOCUMENT = describe(ROUTES, Settings(), "0")
OPERATIONS = [
    pytest.param(route, method, operation, id=f"{method} {route.path}")
    for route in ROUTES
    for method, operation in route.operations.items()
]
# JSON Schema 2020-12, and `discriminator` of OpenAPI: others are spelling mistakes, which validators pass over.
KEYWORDS = {
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "contentMediaType",
    "contentSchema",
    "default",
    "description",
    "discriminator",
    "enum",
    "examples",
    "format",
    "if",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "then",
    "type",
}


def described(route: Route, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = DOCUMENT["paths"][route.path][method.lower()]
    return operation


def errors_in(document: Mapping[str, Any], schema: Mapping[str, Any], instance: object) -> list[str]:
    """The faults of `instance` by a schema of the document."""
    validator = Draft202012Validator({**document, **schema}, format_checker=FormatChecker())
    return [error.message for error in validator.iter_errors(instance)]


def schema_named(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


# --- the document -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(max_message_chars=5, max_body_bytes=2_000),
        Settings(providers={"b": ProviderSettings(kind="echo"), "a": ProviderSettings(kind="echo")}),
        Settings(auth="authenticated"),
    ],
    ids=["default", "limits", "providers", "authenticated"],
)
def test_document_is_valid_with_all_settings(settings: Settings) -> None:
    document = describe(ROUTES, settings, "0")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    json.dumps(document, allow_nan=False)


def test_document_has_exactly_the_paths_and_methods_of_the_routes() -> None:
    table = {(route.path, method.lower()) for route in ROUTES for method in route.operations}
    document = {(path, method) for path, item in DOCUMENT["paths"].items() for method in set(item) - {"parameters"}}
    assert document == table


@pytest.mark.parametrize(("route", "method", "operation"), OPERATIONS)
def test_operation_matches_its_route(route: Route, method: str, operation: Operation) -> None:
    told = described(route, method)
    path_parameters = DOCUMENT["paths"][route.path].get("parameters", [])
    assert [(each["name"], each["in"], each["required"]) for each in path_parameters] == [
        (name, "path", True) for name in re.findall(r"{(\w+)}", route.path)
    ]
    query = [] if operation.query is None else [field.alias for field in operation.query.model_fields.values()]
    parameters = [(each["name"], each["in"]) for each in told.get("parameters", [])]
    assert parameters == [
        *((name, "query") for name in query),
        *((header.name, "header") for header in operation.headers),
    ]
    assert all(each["description"] for each in [*path_parameters, *told.get("parameters", [])])
    assert ("requestBody" in told) == (operation.request is not None)
    if operation.request is not None:
        content = told["requestBody"]["content"]
        assert content == {"application/json": {"schema": schema_named(operation.request.__name__)}}
    successes = {status for status in told["responses"] if status.startswith("2")}
    assert successes == {str(status) for status in (operation.status, *operation.also)}
    for status in successes:
        response = told["responses"][status]
        assert set(response.get("content", {})) == (set() if status == "204" else set(operation.responses))
        assert set(response["headers"]) == {"X-Request-Id", *(header.name for header in operation.response_headers)}
    assert {"403", "500", "503"} <= set(told["responses"])


@pytest.mark.parametrize(("route", "method", "operation"), OPERATIONS)
def test_operation_has_a_name_and_a_description(route: Route, method: str, operation: Operation) -> None:
    told = described(route, method)
    assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", told["operationId"])
    assert told["summary"][0].isupper()
    assert not told["summary"].endswith(".")
    assert all(text.endswith((".", "```")) for text in (operation.description,) if text)
    assert all(text.endswith(".") for text in (*operation.also.values(), *operation.refusals.values()))


def test_operation_names_are_unique() -> None:
    names = [operation.id for route in ROUTES for operation in route.operations.values()]
    assert len(set(names)) == len(names)


def test_every_status_of_refusal_is_described() -> None:
    assert set(REFUSALS) == {500, *STATUSES.values()}
    assert {refusal.name for refusal in REFUSALS.values()} == set(DOCUMENT["components"]["responses"])
    for response in DOCUMENT["components"]["responses"].values():
        content = response["content"]["application/json"]
        assert errors_in(DOCUMENT, content["schema"], content["example"]) == []


def test_every_component_is_used() -> None:
    text = json.dumps(DOCUMENT)
    for kind in ("schemas", "responses", "headers"):
        for name in DOCUMENT["components"][kind]:
            assert f'"#/components/{kind}/{name}"' in text, name


def schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all in it."""
    if not isinstance(schema, dict):
        return
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from schemas_in(inner)
    for key in ("anyOf", "oneOf"):
        for inner in schema.get(key, []):
            yield from schemas_in(inner)
    for key in ("items", "additionalProperties", "contentSchema", "if", "then"):
        yield from schemas_in(schema.get(key))


def test_schemas_have_known_keywords_only() -> None:
    parameters = [
        parameter["schema"]
        for item in DOCUMENT["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
        for parameter in operation.get("parameters", [])
    ]
    for outer in [*DOCUMENT["components"]["schemas"].values(), *parameters]:
        for schema in schemas_in(outer):
            assert set(schema) <= KEYWORDS, schema


# --- examples -----------------------------------------------------------------------------------------------------


def test_every_body_and_response_has_an_example() -> None:
    for route in ROUTES:
        for method in route.operations:
            told = described(route, method)
            for part in (told.get("requestBody", {}), *told["responses"].values()):
                for content in part.get("content", {}).values():
                    name = content["schema"].get("$ref", "").rpartition("/")[2]
                    assert name in EXAMPLES or content["schema"] == {"type": "string"}, content


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_matches_its_schema(name: str) -> None:
    assert errors_in(DOCUMENT, schema_named(name), EXAMPLES[name]) == []
    whole = DOCUMENT["components"]["schemas"][name].get("properties")
    if whole is not None and not name.startswith(("Create", "Update", "Stream")):
        assert set(EXAMPLES[name]) == set(whole)


# --- what depends on the settings ---------------------------------------------------------------------------------


def test_bodies_have_the_bounds_of_the_settings() -> None:
    document = describe(ROUTES, Settings(max_message_chars=5, max_body_bytes=2_000), "0")
    message = schema_named("CreateMessage")
    assert errors_in(document, message, {"role": "user", "content": "12345"}) == []
    for content in ("", "123456", "a\0", None, 1):
        assert errors_in(document, message, {"role": "user", "content": content}), content
    assert "2000 bytes" in document["info"]["description"]


def test_agent_schema_allows_only_configured_providers() -> None:
    agent = schema_named("CreateAgent")
    two = Settings(providers={"b": ProviderSettings(kind="echo"), "a": ProviderSettings(kind="echo")})
    for settings, provider, right in [(two, "a", True), (two, "b", True), (two, "c", False), (Settings(), "a", False)]:
        body = {"name": "x", "adapterType": "llm", "adapterConfig": {"provider": provider}}
        assert (errors_in(describe(ROUTES, settings, "0"), agent, body) == []) is right, (provider, right)
    for body in ({"name": "x", "adapterType": "llm"}, {"name": "x", "adapterType": "llm", "adapterConfig": {}}):
        assert errors_in(describe(ROUTES, two, "0"), agent, body)
    assert errors_in(DOCUMENT, agent, {"name": "x", "adapterType": "echo"}) == []


def test_security_is_required_where_sign_in_is() -> None:
    assert DOCUMENT["security"] == []
    document = describe(ROUTES, Settings(auth="authenticated"), "0")
    schemes = [name for alternative in document["security"] for name in alternative]
    assert schemes == ["bearer", "cookie"] == list(document["components"]["securitySchemes"])
    free = {
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters" and operation.get("security") == []
    }
    assert free == {"getSession", "signIn", "signOut"}


# --- what the server sends ----------------------------------------------------------------------------------------


async def test_document_is_served(api: Api) -> None:
    answer = await api.get("/api/openapi.json")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json["info"]["version"]
    assert {**answer.json, "info": None} == {**DOCUMENT, "info": None}
    assert (await api.get("/api/openapi.json")).body == answer.body
    head = await api.request("HEAD", "/api/openapi.json")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(answer.body)), b"")


async def test_every_event_matches_its_schema(database_url: str) -> None:
    """One of each, from a real server and a model that does what it is told."""
    events: list[Any] = []
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()

        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.think("hm")
        await call.send("y")
        await call.finish()
        events += await stream.rest()
        resumed = await client.stream(conversation, question, last_id="none of ours")
        events += await resumed.rest()

        for keep in (False, True):
            stream = await client.stream(conversation, await client.say(conversation, "x"))
            call = await model.call()
            await call.send("y")
            await stream.event()
            await client.ok("POST", f"/api/conversations/{conversation}/stop", {"keep": keep})
            events += await stream.rest()

        stream = await client.open(stream_path(conversation), method="POST", body={"content": "x"})
        await (await model.raw_call()).refuse(401)
        events += await stream.rest()
        assert errors_in(DOCUMENT, schema_named("StreamFrame"), {"id": stream.last_id, "data": "{}"}) == []
    event = schema_named("StreamEvent")
    assert [errors_in(DOCUMENT, event, each) for each in events] == [[]] * len(events)
    mapping = DOCUMENT["components"]["schemas"]["StreamEvent"]["discriminator"]["mapping"]
    assert {each["type"] for each in events} == set(mapping)
    # Nothing is sent that is not described, either.
    for each in events:
        name = mapping[each["type"]].rpartition("/")[2]
        assert set(each) == set(DOCUMENT["components"]["schemas"][name]["properties"])
    assert DOCUMENT["components"]["schemas"]["ErrorEvent"]["properties"]["code"]["enum"] == list(get_args(ErrorCode))
    assert errors_in(DOCUMENT, event, {"type": "token"})
    assert errors_in(DOCUMENT, event, {"type": "other", "content": "x"})
