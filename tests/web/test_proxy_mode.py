"""`auth = "proxy"` over real sockets: who gets in by which headers, and what they may."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest

from chatserver.services.access import API
from chatserver.web.routes import ROUTES
from tests.kit.http_client import COMPANY
from tests.kit.served_app import Served, serving

OTHER = str(uuid4())
LOOPBACK = ("127.0.0.1",)
OPERATIONS = [(method, route.path) for route in ROUTES for method in route.operations]
# Whoever runs the server watches these; they are not in the table of routes.
OPERATORS = ("/metrics", "/readyz", "/api/openapi.json")
PROXY: dict[str, Any] = {
    "auth": "proxy",
    "trusted_proxies": LOOPBACK,
    "memberships": [
        {"user": "ann", "company": COMPANY},
        {"user": "rea", "company": COMPANY, "role": "reader"},
        {"group": "support", "company": OTHER, "role": "manager"},
        {"user": "root", "admin": True},
    ],
}


def user(name: str, groups: str | None = None, **more: str) -> dict[str, str]:
    return {"X-Forwarded-User": name, **({} if groups is None else {"X-Forwarded-Groups": groups}), **more}


async def status(server: Served, path: str, headers: dict[str, str], method: str = "GET") -> int:
    return (await server.request(method, path, headers=headers)).status


async def test_session_says_who_it_is_and_only_the_proxy_signs_in_and_out(module_database_url: str) -> None:
    async with serving(module_database_url, **PROXY) as server:
        for headers, name, companies in (
            (user("ann"), "ann", [(COMPANY, "member")]),
            (user("ann", "support"), "ann", [(COMPANY, "member"), (OTHER, "manager")]),
            (user("Jürgen"), "Jürgen", []),
        ):
            session = await server.request("GET", "/api/session", headers=headers)
            assert session.json == {
                "mode": "proxy",
                "actor": {"name": name},
                "companies": [{"id": company, "role": role} for company, role in sorted(companies)],
            }
        assert (await server.request("GET", "/api/session")).json == {"mode": "proxy", "actor": None, "companies": []}
        for headers in (user("ann"), {}):
            refused = await server.request("POST", "/api/session", {"token": "x"}, headers)
            assert refused.error == (403, "The proxy signs you in")
            assert "set-cookie" not in refused.headers
            assert await status(server, "/api/session", headers, "DELETE") == 204


async def test_roles_hold_and_messages_bear_the_user(module_database_url: str) -> None:
    path = f"/api/companies/{COMPANY}/conversations"
    async with serving(module_database_url, **PROXY) as server:
        assert await status(server, path, user("rea")) == 200
        assert (await server.request("POST", path, {}, user("rea"))).error == (403, "It takes the role member")
        assert (await server.request("POST", path, {}, user("bob", "support"))).error == (403, "Not your company")
        created = await server.request("POST", path, {}, user("ann"))
        assert created.status == 201
        conversation = f"/api/conversations/{created.json['id']}"
        assert await status(server, conversation, user("rea")) == 200
        assert await status(server, conversation, user("root")) == 200
        assert await status(server, conversation, user("bob", "support")) == 404
        agents = f"/api/companies/{COMPANY}/agents"
        agent = {"name": "a", "adapterType": "echo"}
        assert (await server.request("POST", agents, agent, user("ann"))).error == (403, "It takes the role manager")
        assert (await server.request("POST", agents, agent, user("root"))).status == 201


@pytest.mark.parametrize(
    ("trusted", "headers", "expected"),
    [
        (LOOPBACK, {}, 401),
        (LOOPBACK, {"X-Forwarded-Groups": "support"}, 401),
        (LOOPBACK, {"Authorization": "Bearer chatserver_x"}, 401),
        (LOOPBACK, user("x" * 201), 401),
        (LOOPBACK, user("nobody"), 403),
        (("10.0.0.0/8", "unix"), user("root"), 401),
        (("10.0.0.0/8", "unix"), user("root", **{"X-Forwarded-For": "10.0.0.1"}), 401),
    ],
)
async def test_nobody_else_gets_in_anywhere(
    module_database_url: str, trusted: tuple[str, ...], headers: dict[str, str], expected: int
) -> None:
    """Every operation of the API but those of the session, before its body is looked at."""
    async with serving(module_database_url, **{**PROXY, "trusted_proxies": trusted}) as server:
        for method, template in OPERATIONS:
            path = re.sub(r"{\w+}", lambda _: str(uuid4()), template)
            if path != f"{API}/session" and path not in OPERATORS:
                assert await status(server, path, headers, method) == expected, (method, template)


async def test_header_that_is_there_twice_lets_nobody_in(module_database_url: str) -> None:
    async with serving(module_database_url, **PROXY) as server:
        for lines, expected in (
            (b"X-Forwarded-User: ann\r\nX-Forwarded-User: root\r\n", 401),
            (b"X-Forwarded-User: ann\r\nx-forwarded-user: ann\r\n", 401),
            (b"X-Forwarded-User: ann\r\nX-Forwarded-Groups: a\r\nX-Forwarded-Groups: support\r\n", 401),
            (b"X-Forwarded-User: a\x00nn\r\n", 400),
            (b"X-Forwarded-User: ann\r\n root\r\n", 400),
            (b"X-Forwarded-User: J\xfcrgen\r\n", 403),
            (b"X-Forwarded-User: ann\r\n", 200),
        ):
            connection = await server.connect()
            connection.writer.write(b"GET /api/providers HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n")
            assert (await connection.head())[0] == expected, lines


async def test_guards_hold_behind_a_proxy_that_signs_in(module_database_url: str) -> None:
    """The proxy's cookie comes along with what another site's page sends, too."""
    async with serving(module_database_url, **PROXY) as server:
        for headers in (
            user("root", Host="evil.example"),
            user("root", Origin="https://evil.example"),
            user("root", **{"Sec-Fetch-Site": "cross-site"}),
        ):
            assert await status(server, f"/api/companies/{COMPANY}/conversations", headers, "POST") == 403
