"""What every response has, on every route and whatever its status."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from tornado.httputil import HTTPHeaders

from chatserver.web.http import body_limits, server_stream
from chatserver.web.routes import ROUTES
from tests.kit.http_client import COMPANY
from tests.kit.served_app import serving

OTHER_SITE = "https://app.example.org"
PATHS = [re.sub(r"{\w+}", COMPANY, route.path) for route in ROUTES]
PATHS += ["/api", "/api/nowhere", "/api/conversations/x", "/api/conversations/%ff", "/healthz", "/readyz", "/metrics"]
PATHS += ["/", "/c/x", "/static/nowhere.js", "/nowhere"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"]
STATIC = "/static/index.html"
NOTHING_RUNS = "default-src 'none'; connect-src 'self'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def check(headers: HTTPHeaders) -> None:
    assert headers.get_list("x-request-id") != []
    assert headers.get_list("cross-origin-resource-policy") == ["same-origin"]
    assert headers.get_list("cross-origin-opener-policy") == ["same-origin"]
    assert headers.get_list("x-content-type-options") == ["nosniff"]
    assert headers.get_list("referrer-policy") == ["no-referrer"]
    assert headers.get_list("x-frame-options") == ["DENY"]
    # A file of the page, which alone has an Etag, brings the page's own policy.
    policy = PAGE_POLICY if "etag" in headers else NOTHING_RUNS
    assert headers.get_list("content-security-policy") == [policy]
    assert headers.get_list("cache-control") != []
    assert "server" not in headers
    if headers.get("content-type") == "application/json":
        assert headers.get_list("cache-control") == ["no-store"]


@pytest.mark.parametrize("method", METHODS)
async def test_response_is_isolated_from_other_sites_on_every_route(module_database_url: str, method: str) -> None:
    async with serving(module_database_url, max_body_bytes=1024, allowed_origins=(OTHER_SITE,)) as server:
        for path in PATHS:
            for headers in (
                {},
                {"Host": "evil.example"},
                {"Origin": OTHER_SITE, "Sec-Fetch-Site": "cross-site"},
                {"Content-Length": "2000", "Expect": "100-continue"},
            ):
                check((await server.request(method, path, headers=headers)).headers)


async def test_response_of_a_file_and_of_an_unchanged_file_is_isolated(module_database_url: str) -> None:
    async with serving(module_database_url) as server:
        found = await server.request("GET", STATIC)
        unchanged = await server.request("GET", STATIC, headers={"If-None-Match": found.headers["etag"]})
        assert (found.status, unchanged.status) == (200, 304)
        check(found.headers)
        check(unchanged.headers)


async def test_responses_with_content_are_isolated(module_database_url: str) -> None:
    async with serving(module_database_url) as server:
        conversation = await server.conversation()
        message = await server.say(conversation, "x")
        stream = await server.open(f"/api/conversations/{conversation}/stream")
        check(stream.headers)
        await stream.rest()
        for method, path, status in (
            ("GET", f"/api/companies/{COMPANY}/conversations", 200),
            ("POST", f"/api/companies/{COMPANY}/conversations", 201),
            ("GET", f"/api/conversations/{conversation}/messages?render=html", 200),
            ("GET", f"/api/conversations/{conversation}/export", 200),
            ("GET", f"/api/conversations/{conversation}/export?format=json", 200),
            ("GET", f"/api/conversations/{conversation}/stream?lastEventId={'0' * 32}.1.end", 204),
            ("PUT", f"/api/conversations/{conversation}/messages/{message}/bookmark", 204),
            ("DELETE", f"/api/conversations/{conversation}", 204),
        ):
            response = await server.request(method, path)
            assert response.status == status, path
            check(response.headers)


async def test_responses_of_a_server_at_its_limits_are_isolated(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(module_database_url, requests_per_minute=1) as server:
        path = f"/api/conversations/{uuid4()}/stream"
        await server.request("GET", path)
        for headers, status in (({}, 429), ({"Last-Event-ID": "x"}, 200)):
            response = await server.request("GET", path, headers=headers)
            assert response.status == status
            check(response.headers)
        server.app.draining = True
        response = await server.request("GET", "/readyz")
        assert response.status == 503
        check(response.headers)
    monkeypatch.setattr(body_limits, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(server_stream, "HEAD_SECONDS", 0.3)
    async with serving(module_database_url) as server:
        for part, status in (
            (b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n", 408),
            (b"GET / HTTP", 408),
            (b"GET /" + b"x" * 70_000, 431),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n", 400),
            (b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
            (b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ):
            connection = await server.connect()
            connection.writer.write(part)
            got, headers = await connection.head()
            assert got == status
            check(headers)


async def test_refusals_of_who_may_not_and_of_defects_are_isolated(
    module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/api/companies/{COMPANY}/conversations"
    memberships = [{"user": "rea", "company": COMPANY, "role": "reader"}]
    async with serving(
        module_database_url, auth="proxy", trusted_proxies=("127.0.0.1",), memberships=memberships
    ) as server:
        reader = {"X-Forwarded-User": "rea", "Content-Type": "text/plain"}
        for method, headers, status in (("GET", {}, 401), ("POST", reader, 403), ("GET", reader, 200)):
            response = await server.request(method, path, headers=headers)
            assert response.status == status
            check(response.headers)
        monkeypatch.setattr(type(server.app.context.conversations), "list_conversations", None)  # a defect of ours
        response = await server.request("GET", path, headers=reader)
        assert response.status == 500
        check(response.headers)
    async with serving(module_database_url) as server:
        for path, headers, status in (("", {"Content-Type": "text/plain"}, 415), ("/help", {}, 200), ("/", {}, 200)):
            body = b"x" if status == 415 else None
            response = await server.request("POST" if body else "GET", path or "/api/session", body, headers)
            assert response.status == status
            check(response.headers)


async def test_page_of_an_allowed_site_may_still_read(module_database_url: str) -> None:
    """`Cross-Origin-Resource-Policy` stops what is embedded, not what is read by CORS (WHATWG Fetch)."""
    async with serving(module_database_url, allowed_origins=(OTHER_SITE,)) as server:
        headers = {"Origin": OTHER_SITE, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        response = await server.request("GET", "/api/session", headers=headers)
        assert (response.status, response.headers["access-control-allow-origin"]) == (200, OTHER_SITE)
