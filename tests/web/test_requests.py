"""Common headers of all responses, and responses to requests that are wrong in every way."""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatserver.app import App
from chatserver.web.http import caller
from chatserver.web.http.base_handler import Handler
from chatserver.web.routes import BESIDE_THE_API, ROUTES, Route
from tests.kit.http_client import COMPANY, Response
from tests.kit.served_app import serving
from tests.web.conftest import Api

JSON = {"Content-Type": "application/json"}
WITH_BODY = [
    (method, route.path) for route in ROUTES for method, operation in route.operations.items() if operation.request
]


def some_path(template: str) -> str:
    return re.sub(r"{\w+}", lambda _: str(uuid4()), template)


def is_error(answer: Response) -> bool:
    """True if the response has the contract's shape."""
    body = answer.json
    details = body.get("details", [])
    return (
        set(body) <= {"error", "details"}
        and isinstance(body["error"], str)
        and all(set(detail) == {"path", "message"} for detail in details)
        and answer.headers["Content-Type"] == "application/json"
    )


# --- headers ----------------------------------------------------------------------------------------------


async def test_every_response_has_the_common_headers(api: Api) -> None:
    conversation = await api.conversation()
    for answer in (
        await api.get(conversation),
        await api.get("/api/nowhere"),
        await api.get(f"{conversation}x"),
        await api.get(conversation, Host="evil.example"),
        await api.request("PUT", conversation),
        await api.request("BREW", conversation),
        await api.post(f"{conversation}/messages", {}),
        await api.delete(conversation),
        await api.get("/healthz"),
        await api.get("/nowhere"),
    ):
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in answer.headers
        assert "Etag" not in answer.headers
        assert ("Content-Type" in answer.headers) == (answer.status != 204)
        if answer.body:
            assert answer.headers["Content-Type"] == "application/json"
            assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize("given", ["a", "A-z_0.9", "x" * 64])
async def test_valid_request_id_is_kept(api: Api, given: str) -> None:
    for path in ("/api/session", "/api/nowhere", "/healthz"):
        assert (await api.get(path, X_Request_Id=given)).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", " ", "x" * 65, "a b", "a;b", "<x>", "\u00e9", "a, b"])
async def test_invalid_request_id_is_replaced(api: Api, given: str) -> None:
    made = (await api.get("/api/session", X_Request_Id=given)).headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{32}", made)


async def test_every_request_has_an_id_of_its_own(api: Api) -> None:
    made = {(await api.get("/healthz")).headers["X-Request-Id"] for _ in range(3)}
    assert len(made) == 3


async def test_log_has_the_request_id(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    from chatserver import logs

    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(logs.request_id.get())  # type: ignore[method-assign]
    logger = logging.getLogger("chatserver.access")
    caplog.set_level(logging.INFO, "chatserver.access")
    logger.addHandler(handler)
    try:
        await api.get("/api/session", X_Request_Id="mine")
    finally:
        logger.removeHandler(handler)
    assert seen == ["mine"]


# --- paths and methods ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nowhere",
        "/api/session/",
        "/api//session",
        "/api/session/x",
        "/api/Session",
    ],
)
async def test_unknown_path_under_api_is_not_found(api: Api, method: str, path: str) -> None:
    answer = await api.request(method, path)
    assert answer.status == 404
    if method != "HEAD":
        assert answer.error == (404, "API route not found")


@pytest.mark.parametrize("path", ["/nowhere", "/apiary", "/healthz/", "/index.html", "/..", "/%2e%2e/etc/passwd", "/é"])
async def test_unknown_path_elsewhere_is_not_found(api: Api, path: str) -> None:
    assert (await api.get(path)).error == (404, "Not found")


def routes() -> list[tuple[str, type[Handler]]]:
    beside = [("/healthz", 0), ("/readyz", 1), ("/metrics", 2), ("/static/x", 3), ("/", 4)]
    return [(route.path, route.handler) for route in ROUTES] + [(path, BESIDE_THE_API[at][1]) for path, at in beside]


@pytest.mark.parametrize(("template", "handler"), routes())
async def test_wrong_method_is_refused_with_the_allowed_ones(api: Api, template: str, handler: type[Handler]) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY", "BREW"):
        if method in handler.allowed_methods():
            continue
        answer = await api.request(method, some_path(template))
        assert answer.status == 405
        assert answer.headers["Allow"].split(", ") == handler.allowed_methods()
        if method != "HEAD":
            assert answer.error == (405, "Method not allowed")
    answer = await api.request("OPTIONS", some_path(template))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Allow"].split(", ") == handler.allowed_methods()


async def test_head_is_get_without_a_body(api: Api) -> None:
    conversation = await api.conversation()
    for path in (conversation, api.conversations, "/api/session", "/healthz"):
        got, head = await api.get(path), await api.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(got.body))
    assert (await api.request("HEAD", f"/api/conversations/{uuid4()}")).status == 404


# --- bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", b'{"title": "x"}'),
        ("application/xml", b"<x/>"),
        ("application/x-www-form-urlencoded", b"title=x"),
        ("application/x-www-form-urlencoded", b"%ff=%&" * 2_000),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="t"\r\n\r\n1\r\n--x--\r\n'),
        ("multipart/form-data; boundary=x", b"not multipart"),
        ("multipart/form-data", b"no boundary"),
        ("application/json; charset=utf-16", b"{}"),
        (None, b"{}"),
        ("", b"{}"),
    ],
)
async def test_body_that_is_not_json_is_refused(api: Api, content_type: str | None, body: bytes) -> None:
    headers = {"Content-Type": content_type} if content_type is not None else {}
    answer = await api.request("POST", api.conversations, body, headers)
    assert answer.error == (415, "Content-Type must be application/json")


async def test_post_without_a_body_needs_no_content_type(api: Api) -> None:
    conversation = await api.conversation()
    for path in (f"{conversation}/pin", f"{conversation}/archive", api.conversations, f"{conversation}/stop"):
        answer = await api.request("POST", path, b"")
        assert answer.status in (200, 201), path
    assert (await api.request("POST", f"{conversation}/messages", b"")).wrong == ["role", "content"]


NASTY = [
    b"{",
    b"}",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"null",
    b"[]",
    b'"x"',
    b"1e999",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"content": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b'{"x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b'{"x": NaN}',
    b'{"x": 1' + b"0" * 10_000 + b"}",
    b'{"content": "\\ud800", "messageId": "\\ud800", "name": "\\ud800", "title": "\\ud800", "token": "\\ud800"}',
    b'{"content": "\\u0000", "messageId": "\\u0000", "name": "\\u0000", "title": "\\u0000", "keep": 1, "token": 1}',
    b'{"role": "user", "content": "\xff", "messageId": "\xff", "name": "\xff", "title": "\xff"}',
    b'{"role": 1, "content": 1, "messageId": 1, "name": 1, "title": 1, "keep": 1, "token": 1}',
    b'{"role": {}, "content": [], "messageId": {}, "name": [], "title": {}, "keep": "yes", "agentId": 0, "token": []}',
    b'{"role": null, "content": null, "messageId": null, "name": null, "title": true, "keep": null, "token": null}',
    b'{"content": 1e999, "messageId": -1e999, "name": 1e999, "title": 1e999, "keep": 1e999, "token": 1}',
    b'{"content": ' + b"9" * 4_000 + b', "messageId": 1, "name": 1, "title": 1, "keep": 0, "token": 0}',
    b'{"agentId": "x", "messageId": "x", "content": "", "name": "", "keep": "", "token": ""}',
]


@pytest.mark.parametrize(("method", "template"), WITH_BODY)
async def test_hostile_bodies_cause_no_server_error(
    api: Api, chat: App, caplog: pytest.LogCaptureFixture, method: str, template: str
) -> None:
    conversation = await api.conversation(title="before")
    said = await api.say(conversation, "before")
    agent = (await api.post(api.agents, {"name": "before", "adapterType": "echo"})).json["id"]
    ids = {
        "{companyId}": api.company,
        "{messageId}": said["id"],
        "{id}": agent if "/agents/" in template else said["conversationId"],
    }
    path = re.sub(r"{\w+}", lambda match: ids[match[0]], template)
    for body in NASTY:
        answer = await api.request(method, path, body, JSON)
        assert answer.status == 400, (body[:80], answer)
        assert is_error(answer)
        assert answer.json["error"] in ("Malformed JSON", "Validation error")
    assert await api.contents(conversation) == ["before"]
    assert (await api.get(conversation)).json["title"] == "before"
    assert (await api.get(f"/api/agents/{agent}")).json["name"] == "before"
    assert len((await api.get(api.conversations)).json["items"]) == 1
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING] == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.uuids().map(str),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["title", "agentId", "role", "content", "messageId", "keep", "name", "adapterType", "adapterConfig"]
)
BODIES = st.lists(st.dictionaries(KEYS, VALUES, max_size=5), min_size=1, max_size=4)


async def test_hostile_values_cause_no_server_error(api: Api) -> None:
    """All values lead to a resource or a refusal."""
    generated: list[dict[str, Any]] = []

    @settings(max_examples=15, deadline=None, database=None)
    @given(BODIES)
    def generate(bodies: list[dict[str, Any]]) -> None:
        generated.extend(bodies)

    generate()
    conversation = await api.conversation()
    said = await api.say(conversation, "x")
    for body in generated[:60]:
        text = json.dumps(body).encode()
        for method, path in (
            ("POST", api.conversations),
            ("PATCH", conversation),
            ("POST", f"{conversation}/messages"),
            ("PUT", f"{conversation}/messages/{said['id']}"),
            ("POST", f"{conversation}/branch"),
            ("POST", api.agents),
        ):
            answer = await api.request(method, path, text, JSON)
            assert answer.status in (200, 201, 400, 404), (method, path, body, answer)
            assert answer.status < 400 or is_error(answer)


# --- defects and a database that is away ------------------------------------------------------------------


async def test_defect_is_logged_and_hidden_from_the_client(
    api: Api, chat: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: object) -> None:
        raise ValueError("postgresql://user:secret@host")

    monkeypatch.setattr(chat.context.conversations, "get_conversation", broken)
    answer = await api.get(f"/api/conversations/{uuid4()}")
    assert answer.error == (500, "Internal server error")
    assert answer.headers["X-Request-Id"]
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "GET ConversationHandler failed"


def test_every_route_is_tried_here() -> None:
    assert all(isinstance(route, Route) for route in ROUTES)
    assert {template for _, template in WITH_BODY} >= {"/api/conversations/{id}", "/api/agents/{id}"}


async def test_too_many_requests_are_refused(database_url: str) -> None:
    async with serving(database_url, requests_per_minute=5) as client:
        path = f"/api/companies/{COMPANY}/conversations"
        for _ in range(5):
            assert (await client.request("GET", path)).status == 200
        refused = await client.request("GET", path)
        assert refused.status == 429
        assert refused.json == {"error": "Too many requests"}
        assert 1 <= int(refused.headers["retry-after"]) <= 12
        assert (await client.request("GET", "/healthz")).status == 200
        # A client that comes back to its stream is sent away kindly, and a finished one told so.
        path = f"/api/conversations/{COMPANY}/stream"
        assert (await client.request("GET", path)).status == 429
        away = await client.request("GET", path, headers={"Last-Event-ID": "x"})
        assert away.status == 200
        assert away.body.startswith(b":ok\n\nretry: ")
        end = await client.request("GET", path, headers={"Last-Event-ID": f"{'0' * 32}.1.end"})
        assert end.status == 204


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_request_under_api_counts(module_database_url: str, method: str) -> None:
    for template in [*(route.path for route in ROUTES), "/api", "/api/", "/api/nowhere"]:
        async with serving(module_database_url, requests_per_minute=1) as client:
            path = re.sub(r"{\w+}", lambda _: str(uuid4()), template)
            before = time.monotonic()
            assert (await client.request(method, path)).status != 429
            refused = await client.request(method, path)
            passed = time.monotonic() - before
            assert refused.status == 429, path
            # The next one is allowed a minute after the first.
            assert 60 - passed <= int(refused.headers["retry-after"]) <= 60, path
            # What an operator's tools and the page ask for does not count.
            for beside in ("/healthz", "/readyz", "/metrics", "/", "/static/nowhere.js"):
                assert (await client.request("GET", beside)).status in (200, 404)


async def test_without_a_limit_no_client_is_looked_up(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = []
    original = caller.counted_address

    def counted_address(address: str) -> str:
        looked_up.append(address)
        return original(address)

    monkeypatch.setattr(caller, "counted_address", counted_address)
    for limit, addresses in ((0, []), (1, ["127.0.0.1"])):
        async with serving(module_database_url, requests_per_minute=limit) as client:
            assert (await client.request("GET", "/api/session")).status == 200
        assert looked_up == addresses


async def test_preflight_of_an_allowed_site_does_not_count(module_database_url: str) -> None:
    site = "https://app.example.org"
    asking = {"Origin": site, "Access-Control-Request-Method": "POST", "Sec-Fetch-Site": "cross-site"}
    async with serving(module_database_url, requests_per_minute=1, allowed_origins=(site,)) as client:
        for _ in range(3):
            assert (await client.request("OPTIONS", "/api/session", headers=asking)).status == 204
        assert (await client.request("GET", "/api/session", headers={"Origin": site})).status == 200
        refused = await client.request("GET", "/api/session", headers={"Origin": site})
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (429, site)


async def test_limit_counts_a_network_of_ipv6_as_one_client(module_database_url: str) -> None:
    async with serving(module_database_url, requests_per_minute=1, trusted_proxies=("127.0.0.1",)) as client:
        for address, status in (
            ("2001:db8::1", 200),
            ("2001:db8::ffff:1", 429),
            ("2001:db8:0:1::1", 200),
            ("::ffff:192.0.2.1", 200),
            ("192.0.2.1", 429),
        ):
            response = await client.request("GET", "/api/session", headers={"X-Forwarded-For": address})
            assert response.status == status, address


async def test_limit_counts_clients_behind_a_trusted_proxy(database_url: str) -> None:
    path = f"/api/companies/{COMPANY}/conversations"
    async with serving(database_url, requests_per_minute=1, trusted_proxies=("127.0.0.1",)) as client:
        for address, status in (("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200)):
            response = await client.request("GET", path, headers={"X-Forwarded-For": address})
            assert response.status == status
    async with serving(database_url, requests_per_minute=1) as client:
        for address, status in (("192.0.2.1", 200), ("192.0.2.2", 429)):
            response = await client.request("GET", path, headers={"X-Forwarded-For": address})
            assert response.status == status
