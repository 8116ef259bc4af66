"""The OpenAPI 3.1 document, made from the route table, the models and the settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema

from chatserver import errors
from chatserver.schemas import CreateAgent, CreateMessage, EditMessage, Error, StreamMessage
from chatserver.services.access import Need
from chatserver.settings import Settings
from chatserver.web.http.error_responses import error_response
from chatserver.web.openapi import headers
from chatserver.web.openapi.examples import EXAMPLES
from chatserver.web.openapi.operations import Header, Operation, Route

SESSION_COOKIE = "chatserver_session"

JSON = "application/json"
_REF = "#/components/schemas/{model}"
_MODE: JsonSchemaMode = "validation"

ABOUT = """\
Conversations of people with agents. Answers are streams of Server-Sent Events.

- Bodies are JSON in UTF-8 with camelCase keys, {max_body_bytes} bytes at most. Unknown keys and unknown query
  parameters are ignored. A query value that is empty or out of range is refused, never clamped.
- Ids are UUIDs in their 36-character form. Times are RFC 3339 in UTC with milliseconds and `Z`.
- A list is `{{"items", "hasMore", "nextCursor"}}`; `nextCursor` goes into the query of the next page as `cursor`,
  beside the same filters.
- An error response is `{{"error"}}`, with `details` if a body or query is not valid. A method that a path does not have
  gets 405 with `Allow`. HEAD works wherever GET does, except for streams; OPTIONS works everywhere.
- JSON responses have `Cache-Control: no-store`."""


def render(routes: Sequence[Route], settings: Settings, version: str) -> bytes:
    """The document as JSON."""
    return json.dumps(describe(routes, settings, version), ensure_ascii=False, separators=(",", ":")).encode()


def describe(routes: Sequence[Route], settings: Settings, version: str) -> dict[str, Any]:
    """The document of a server of that version, with these routes and settings."""
    refs, schemas = _schemas(routes)
    _limit(schemas, settings)
    queries = {
        model: schemas.pop(ref["$ref"].rpartition("/")[2])
        for model, ref in refs.items()
        if model in {operation.query for _, operation in _operations(routes)}
    }
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    table = _Table(refs, queries)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "chatserver",
            "version": version,
            "description": ABOUT.format(max_body_bytes=settings.max_body_bytes),
        },
        "servers": [{"url": "/"}],
        "security": [] if settings.auth == "local_trusted" else [{"bearer": []}, {"cookie": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(map(_tag, routes))],
        "paths": {route.path: table.path_item(route) for route in routes},
        "components": {
            "schemas": schemas,
            "responses": {refusal.name: _refusal(refusal, refs) for refusal in REFUSALS.values()},
            "headers": {each.name: _header(each) for each in _SHARED_HEADERS},
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


# --- schemas ----------------------------------------------------------------------------------------------

Refs = Mapping[type[BaseModel], JsonSchemaValue]


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """No titles of fields: they would repeat the names."""
        return False

    def normalize_name(self, name: str) -> str:
        """`Page[Agent]` becomes `AgentPage`."""
        return super().normalize_name(re.sub(r"^(\w+)\[(\w+)]$", r"\2\1", name))


def _operations(routes: Iterable[Route]) -> Iterator[tuple[Route, Operation]]:
    return ((route, operation) for route in routes for operation in route.operations.values())


def _schemas(routes: Sequence[Route]) -> tuple[Refs, dict[str, Any]]:
    """References to the schemas of all models of the table, and the schemas by name."""
    models: dict[type[BaseModel], None] = {Error: None}
    for _, operation in _operations(routes):
        for model in (operation.request, operation.query, *operation.responses.values()):
            if model is not None:
                models[model] = None
    refs, definitions = models_json_schema(
        [(model, _MODE) for model in models], ref_template=_REF, schema_generator=_Generator
    )
    for schema in definitions["$defs"].values():
        del schema["title"]
    return {model: refs[model, _MODE] for model in models}, definitions["$defs"]


def _limit(schemas: dict[str, Any], settings: Settings) -> None:
    """Put the limits of the settings into the schemas."""
    for model in (CreateMessage, EditMessage, StreamMessage):
        schemas[model.__name__]["properties"]["content"]["maxLength"] = settings.max_message_chars
    # Without providers, no value is valid.
    provider = {"enum": sorted(settings.providers)} if settings.providers else False
    schemas[CreateAgent.__name__]["then"]["properties"]["adapterConfig"]["properties"]["provider"] = provider


# --- paths ------------------------------------------------------------------------------------------------

# The description of a path parameter, by the part of the path before it.
_NAMED = {
    "companies": "The company.",
    "conversations": "The conversation.",
    "messages": "A message of the conversation.",
    "agents": "The agent.",
}


class _Table(NamedTuple):
    """Describes paths: it holds references to models, and the schemas of queries."""

    refs: Refs
    queries: Mapping[type[BaseModel], JsonSchemaValue]

    def path_item(self, route: Route) -> dict[str, Any]:
        item: dict[str, Any] = {}
        if route.parameters:
            item["parameters"] = list(_path_parameters(route))
        for method, operation in route.operations.items():
            item[method.lower()] = self._operation(route, method, operation)
        return item

    def _operation(self, route: Route, method: str, operation: Operation) -> dict[str, Any]:
        described: dict[str, Any] = {
            "operationId": operation.id,
            "summary": operation.summary,
            "tags": [_tag(route)],
        }
        need = route.handler.needs[method]
        told = None if need is Need.NOTHING else f"Needs {need.value}."
        if description := " ".join(filter(None, (operation.description, told))):
            described["description"] = description
        if need is Need.NOTHING:
            described["security"] = []
        parameters = [*self._query_parameters(operation), *map(_request_header, operation.headers)]
        if parameters:
            described["parameters"] = parameters
        if operation.request is not None:
            required = any(field.is_required() for field in operation.request.model_fields.values())
            described["requestBody"] = {"required": required, "content": self._content({JSON: operation.request})}
        described["responses"] = self._responses(route, method, operation)
        return described

    def _query_parameters(self, operation: Operation) -> Iterator[dict[str, Any]]:
        if operation.query is None:
            return
        schema = self.queries[operation.query]
        for name, described in schema["properties"].items():
            given = _not_null(described)
            parameter = {"name": name, "in": "query", "required": name in schema.get("required", ())}
            description = given.pop("description", None)
            assert description, f"{operation.query.__name__}.{name} says nothing of itself"
            yield {**parameter, "description": description, "schema": given}

    def _responses(self, route: Route, method: str, operation: Operation) -> dict[str, Any]:
        content = self._content(operation.responses)
        described: dict[str, dict[str, Any]] = {}
        for status, description in {operation.status: _PHRASES[operation.status], **operation.also}.items():
            own = {each.name: _header(each) for each in operation.response_headers}
            described[str(status)] = {"description": description, "headers": _shared(headers.REQUEST_ID) | own}
            if content and status != 204:
                described[str(status)]["content"] = content
        for status in sorted(_statuses_of_refusal(route, method, operation)):
            described[str(status)] = {"$ref": f"#/components/responses/{REFUSALS[status].name}"}
            if status in operation.refusals:
                described[str(status)]["description"] = operation.refusals[status]
        return described

    def _content(self, models: Mapping[str, type[BaseModel] | None]) -> dict[str, Any]:
        return {
            media_type: {"schema": {"type": "string"} if model is None else self.refs[model]}
            for media_type, model in models.items()
        }


_PHRASES = {200: "Success.", 201: "Created.", 204: "Success, without a body."}


def _tag(route: Route) -> str:
    """The group of a route's operations: the module of its handler."""
    return route.handler.__module__.rpartition(".")[2]


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    parts = route.path.split("/")
    for name in route.parameters:
        before = parts[parts.index(f"{{{name}}}") - 1]
        schema = {"type": "string", "format": "uuid"}
        yield {"name": name, "in": "path", "required": True, "description": _NAMED[before], "schema": schema}


def _not_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    """The schema of a parameter, without null: a parameter can be omitted, but not be null."""
    if "anyOf" not in schema:
        return dict(schema)
    (given,) = [alternative for alternative in schema["anyOf"] if alternative != {"type": "null"}]
    described = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**given, **described}


def _header(header: Header) -> dict[str, Any]:
    return {"description": header.description, "required": header.required, "schema": dict(header.schema)}


def _shared(*sent: Header) -> dict[str, Any]:
    """References to headers that are described once for all responses."""
    return {each.name: {"$ref": f"#/components/headers/{each.name}"} for each in sent}


def _request_header(header: Header) -> dict[str, Any]:
    return {"name": header.name, "in": "header", **_header(header)}


# --- refusals ---------------------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """A response of refusal: its name, its meaning, an example, and its headers."""

    name: str
    description: str
    example: BaseException
    headers: tuple[Header, ...] = ()


REFUSALS: Mapping[int, Refusal] = {
    400: Refusal(
        "BadRequest",
        "An id, the query or the body is malformed or out of bounds.",
        errors.ValidationError([errors.Problem("content", "Field required")]),
    ),
    401: Refusal(
        "NotSignedIn",
        "Nobody is signed in, or no longer: sign in again.",
        errors.NotSignedInError(),
        (headers.WWW_AUTHENTICATE,),
    ),
    403: Refusal(
        "Forbidden",
        "Your role is not enough, it is another company's list, or another site's page sent the request.",
        errors.ForbiddenError("Not your company"),
    ),
    404: Refusal("NotFound", "It does not exist, or not for you.", errors.NotFoundError("Conversation not found")),
    408: Refusal("TooSlow", "The body took too long to arrive.", errors.RequestTooSlowError()),
    409: Refusal("Conflict", "An answer is being generated in this conversation.", errors.ConflictError()),
    413: Refusal("BodyTooLarge", "The body is too large.", errors.BodyTooLargeError()),
    415: Refusal("UnsupportedMediaType", "The Content-Type is not JSON.", errors.UnsupportedMediaTypeError()),
    422: Refusal(
        "Unprocessable",
        "The `Idempotency-Key` was used with another body, or a branch would copy too much.",
        errors.UnprocessableError(),
    ),
    429: Refusal(
        "TooManyRequests",
        "Too many requests, or the company has as many answers or streams as it may have.",
        errors.RateLimitedError(),
        (headers.RETRY_AFTER,),
    ),
    500: Refusal("InternalError", "A defect of the server.", errors.ChatServerError()),
    503: Refusal(
        "Unavailable",
        "The server is at its limits, shutting down, or without its database.",
        errors.UnavailableError(),
        (headers.RETRY_AFTER,),
    ),
}

_SHARED_HEADERS = (headers.REQUEST_ID, headers.RETRY_AFTER, headers.WWW_AUTHENTICATE)


def _statuses_of_refusal(route: Route, method: str, operation: Operation) -> set[int]:
    statuses = {403, 429, 500, 503, *operation.refusals}
    if route.handler.needs[method] is not Need.NOTHING:
        statuses.add(401)
    if route.parameters or operation.query or operation.headers:
        statuses.add(400)
    if set(route.parameters) - {"companyId"}:
        statuses.add(404)
    if operation.request:
        statuses |= {400, 408, 413, 415}
    return statuses


def _refusal(refusal: Refusal, refs: Refs) -> dict[str, Any]:
    example = error_response(refusal.example)[1].model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "description": refusal.description,
        "headers": _shared(headers.REQUEST_ID, *refusal.headers),
        "content": {JSON: {"schema": refs[Error], "example": example}},
    }


# --- security ---------------------------------------------------------------------------------------------

_SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `chatserver token create`. Required if `auth` is `authenticated`.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "Set by `POST /api/session`. An EventSource uses it, because it cannot send headers.",
    },
}
