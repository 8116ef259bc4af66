"""The guards on every route, and `local_trusted`."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from chatserver.app import App
from chatserver.settings import Settings
from chatserver.web.routes import ROUTES
from tests.kit.served_app import serving
from tests.web.conftest import Api

OTHER_SITE = "https://app.example.org"
OPERATIONS = [(method, route.path) for route in ROUTES for method in route.operations]
BODY = {"role": "user", "content": "x", "messageId": str(uuid4()), "name": "a", "adapterType": "echo", "text": "x"}


@pytest.fixture
def settings() -> Settings:
    return Settings(allowed_hosts=("localhost", "chat.example.org"), allowed_origins=(OTHER_SITE,))


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
