"""Access on every route: the guards of `local_trusted`, and the resources that an actor of one company sees."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from tornado.web import Application

from chatserver.app import App
from chatserver.errors import NotSignedInError
from chatserver.services.access import Actor, Caller, LocalTrusted, Mode, Role
from chatserver.settings import Settings
from chatserver.web.assembly import make_application
from chatserver.web.routes import ROUTES
from tests.kit.http_client import Client
from tests.kit.served_app import serving
from tests.web.conftest import Api

OTHER_SITE = "https://app.example.org"
OPERATIONS = [(method, route.path) for route in ROUTES for method in route.operations]
NOBODYS = ("/api/session", "/api/openapi.json", "/api/providers")
BODY = {"role": "user", "content": "x", "messageId": str(uuid4()), "name": "a", "adapterType": "echo", "text": "x"}


@pytest.fixture
def settings() -> Settings:
    return Settings(allowed_hosts=("localhost", "chat.example.org"), allowed_origins=(OTHER_SITE,))


class OneCompany(LocalTrusted):
    """Knows whoever sends their company's id for a token, and nobody else."""

    mode: Mode = "authenticated"

    async def authenticate(self, headers: Mapping[str, str], caller: Caller) -> Actor:
        if "Authorization" not in headers:
            raise NotSignedInError
        return Actor("someone", {UUID(headers["Authorization"]): Role.MANAGER})


def some_path(template: str) -> str:
    return re.sub(r"{\w+}", lambda _: str(uuid4()), template)


# --- local_trusted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/help", "/healthz", "/readyz", "/metrics", "/static/x", "/nowhere", "/api/session"]
)
async def test_unknown_host_is_refused_on_every_route(api: Api, path: str) -> None:
    for host in ("evil.example", "localhost.evil.example:8000", "192.168.0.1"):
        assert (await api.get(path, Host=host)).error == (403, "Host is not a name of this server")
    for host in ("LOCALHOST:1", "127.0.0.2", "[::1]:8000", "chat.example.org"):
        assert (await api.get(path, Host=host)).status != 403


@pytest.mark.parametrize(("method", "template"), OPERATIONS)
async def test_request_of_another_site_is_refused_on_every_route(api: Api, method: str, template: str) -> None:
    body = None if method in ("GET", "DELETE") else BODY
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    ):
        answer = await api.request(method, some_path(template), body, headers)
        assert answer.error[0] == 403, headers


async def test_stream_is_refused_as_a_page_and_starts_nothing(api: Api, chat: App) -> None:
    conversation = await api.conversation()
    await api.say(conversation, "x")
    for headers in (
        {"Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site", "Origin": OTHER_SITE},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-site"},
    ):
        for last_event_id in ({}, {"Last-Event-ID": "x"}):
            for method in ("GET", "POST", "HEAD"):
                body = BODY if method == "POST" else None
                answer = await api.request(method, f"{conversation}/stream", body, {**headers, **last_event_id})
                assert answer.status == 403
    assert await api.contents(conversation) == ["x"]
    assert (await api.get(conversation)).json["activeRun"] is None


async def test_forwarded_scheme_of_a_trusted_proxy_decides_the_origin(module_database_url: str) -> None:
    headers = {"Host": "chat.example.org", "Origin": "https://chat.example.org", "X-Forwarded-Proto": "https"}
    for trusted, status in ((("127.0.0.1",), 200), ((), 403)):
        async with serving(module_database_url, allowed_hosts=("chat.example.org",), trusted_proxies=trusted) as client:
            assert (await client.request("GET", "/api/session", headers=headers)).status == status


async def test_request_of_the_page_is_accepted(api: Api) -> None:
    headers = {"Host": "localhost:8000", "Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}
    answer = await api.request("POST", api.conversations, {}, headers)
    assert answer.status == 201
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_allowed_site_may_call_and_read(api: Api) -> None:
    headers = {"Origin": OTHER_SITE, "Sec-Fetch-Site": "cross-site"}
    answer = await api.request("POST", api.conversations, {}, headers)
    assert answer.status == 201
    assert answer.headers["Access-Control-Allow-Origin"] == OTHER_SITE
    assert "X-Trigger-Message-Id" in answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["Vary"] == "Origin"
    refused = await api.request("GET", f"/api/conversations/{uuid4()}", None, headers)
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (404, OTHER_SITE)


async def test_file_of_the_page_varies_by_origin_and_by_coding(api: Api) -> None:
    answer = await api.request("GET", "/", None, {"Origin": OTHER_SITE, "Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert {name.strip() for name in answer.headers["Vary"].split(",")} == {"Origin", "Accept-Encoding"}


async def test_preflight_of_an_allowed_site_lists_its_permissions(api: Api) -> None:
    path = f"/api/conversations/{uuid4()}"
    asking = {
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "content-type",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "cors",
    }
    answer = await api.request("OPTIONS", path, None, {"Origin": OTHER_SITE, **asking})
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == OTHER_SITE
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    foreign = await api.request("OPTIONS", path, None, {"Origin": "https://evil.example", **asking})
    assert foreign.status == 403
    assert not [name for name in foreign.headers if name.startswith("Access-Control")]
    own = await api.request("OPTIONS", path)
    assert (own.status, own.headers["Allow"]) == (204, "GET, HEAD, DELETE, PATCH, OPTIONS")
    assert not [name for name in own.headers if name.startswith("Access-Control")]


async def test_session_names_actor_and_companies(api: Api, settings: Settings) -> None:
    company = {"id": str(settings.default_company_id)}
    answer = await api.get("/api/session")
    assert answer.json == {"mode": "local_trusted", "actor": {"name": "board"}, "companies": [company]}
    for answer in (await api.post("/api/session", {"token": "x"}), await api.delete("/api/session")):
        assert (answer.status, answer.body) == (204, b"")
        assert "Set-Cookie" not in answer.headers


# --- an actor of one company ------------------------------------------------------------------------------


class ScopedApi(Api):
    """Speaks as somebody of one company."""

    async def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        return await super().request(method, path, body, {"Authorization": self.company, **(headers or {})})


@pytest.fixture
def app(chat: App, request: pytest.FixtureRequest) -> Application:
    """Where a test speaks for companies, the server knows them."""
    if "speakers" in request.fixturenames:
        return make_application(replace(chat.context, access=OneCompany()))
    return chat.web


@pytest.fixture
def speakers(client: Client) -> tuple[ScopedApi, ScopedApi]:
    """Of two companies."""
    return ScopedApi(client), ScopedApi(client)


@pytest.mark.parametrize(("method", "template"), OPERATIONS)
async def test_resources_of_another_company_are_not_found_and_its_lists_forbidden(
    speakers: tuple[ScopedApi, ScopedApi], method: str, template: str
) -> None:
    owner, stranger = speakers
    conversation = await owner.conversation()
    said = await owner.say(conversation, "x")
    agent = (await owner.post(owner.agents, {"name": "a", "adapterType": "echo"})).json["id"]
    ids = {
        "{companyId}": owner.company,
        "{messageId}": said["id"],
        "{id}": agent if "/agents/" in template else said["conversationId"],
    }
    path = re.sub(r"{\w+}", lambda match: ids[match[0]], template) + "?q=x"  # which search needs
    body = None if method in ("GET", "DELETE") else {**BODY, "messageId": said["id"]}
    answer = await stranger.request(method, path, body)
    if template in NOBODYS:
        assert answer.status in (200, 204)
    elif "{companyId}" in template:
        assert answer.error == (403, "Not your company")
    else:
        assert answer.error[0] == 404
        assert answer.error[1] in ("Conversation not found", "Message not found", "Agent not found")
    # Nothing happened.
    assert await owner.contents(conversation) == ["x"]
    assert (await owner.get(conversation)).json["title"] == "x"
    assert (await owner.get(f"/api/agents/{agent}")).json["name"] == "a"
    assert len((await owner.get(owner.conversations)).json["items"]) == 1


@pytest.mark.parametrize(("method", "template"), OPERATIONS)
async def test_request_without_credentials_reaches_only_the_session(
    speakers: object, api: Api, method: str, template: str
) -> None:
    answer = await api.request(method, some_path(template), None if method in ("GET", "DELETE") else BODY)
    if template in ("/api/session", "/api/openapi.json"):  # the latter for the operator, on this machine
        assert answer.status in (200, 204)
        return
    assert answer.error == (401, "Sign in first")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_session_differs_for_signed_in_and_signed_out_clients(
    speakers: tuple[ScopedApi, ScopedApi], api: Api
) -> None:
    speaker, _ = speakers
    company = {"id": speaker.company}
    answer = await speaker.get("/api/session")
    assert answer.json == {"mode": "authenticated", "actor": {"name": "someone"}, "companies": [company]}
    assert (await api.get("/api/session")).json == {"mode": "authenticated", "actor": None, "companies": []}


async def test_preflight_needs_no_credentials(speakers: object, api: Api) -> None:
    assert (await api.request("OPTIONS", some_path("/api/conversations/{id}"))).status == 204
