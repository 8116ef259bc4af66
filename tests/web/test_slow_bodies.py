"""Bodies that take their time: whoever sends one must still be allowed when it has come, and keeps no others out."""

from __future__ import annotations

import json

import pytest

from chatserver.web.http import body_limits
from chatserver.web.http.body_limits import ANYBODYS_BYTES
from tests.kit.http_client import COMPANY
from tests.kit.http_connection import Connection
from tests.kit.served_app import Served, serving
from tests.kit.tokens import Token, execute, make_token
from tests.kit.waiting import eventually

CONVERSATIONS = f"/api/companies/{COMPANY}/conversations"
AGENTS = f"/api/companies/{COMPANY}/agents"


async def begin(client: Served, path: str, length: int, sent: bytes, token: Token | None = None) -> Connection:
    """A request of whose body only a part has come."""
    connection = await client.connect()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in (token.bearer if token is not None else {}).items()]
    before = client.app.web.bodies.held_bytes
    connection.writer.write("\r\n".join([*lines, "", ""]).encode() + sent)
    await eventually(lambda: client.app.web.bodies.held_bytes == before + len(sent))
    return connection


@pytest.mark.parametrize(
    ("loss", "status"),
    [("revoked_at = now()", 401), ("expires_at = now()", 401), ("role = 'member'", 403), ("last_used_at = now()", 201)],
)
async def test_rights_are_looked_at_again_when_a_slow_body_has_come(database_url: str, loss: str, status: int) -> None:
    token = make_token(database_url, COMPANY, "manager")
    body = json.dumps({"name": "A", "adapterType": "echo"}).encode()
    async with serving(database_url, auth="authenticated") as client:
        connection = await begin(client, AGENTS, len(body), body[:5], token)
        execute(database_url, f"UPDATE api_tokens SET {loss}")
        connection.writer.write(body[5:])
        assert (await connection.head())[0] == status
        admin = make_token(database_url, None, name="root")
        listed = await client.request("GET", AGENTS, headers=admin.bearer)
        assert len(listed.json["items"]) == (status == 201)


async def test_bodies_of_nobody_and_of_one_company_leave_room_for_others(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_limits, "ALL_BODIES_BYTES", 80_000)
    ann, bob = make_token(database_url, COMPANY), make_token(database_url, "00000000-0000-4000-8000-000000000002")
    theirs = CONVERSATIONS.replace(COMPANY, "00000000-0000-4000-8000-000000000002")
    async with serving(database_url, auth="authenticated", max_body_bytes=20_000) as client:
        held = [await begin(client, "/api/session", 9_500, b" " * 9_400)]
        for path, token in (("/api/session", None), (CONVERSATIONS, ann)):
            refused = await client.request("POST", path, b" " * 1_000, {} if token is None else token.bearer)
            assert refused.status == (503 if token is None else 415), path
        held += [await begin(client, CONVERSATIONS, 20_000, b" " * 19_000, ann) for _ in range(2)]
        refused = await client.request("POST", CONVERSATIONS, b" " * 3_000, ann.bearer)
        assert refused.error == (503, "Too many requests are being received")
        assert (
            await client.request("POST", theirs, {"title": "x" * 150, "more": "y" * 9_000}, bob.bearer)
        ).status == 201
        for connection in held:
            connection.reset()
        await eventually(lambda: client.app.web.bodies.held_bytes == 0)
        assert not client.app.web.bodies._of_share


async def test_body_of_a_request_that_needs_no_sign_in_is_small(database_url: str) -> None:
    for auth, size, status in (
        ("local_trusted", ANYBODYS_BYTES + 1, 204),
        ("authenticated", ANYBODYS_BYTES, 401),
        ("authenticated", ANYBODYS_BYTES + 1, 413),
    ):
        async with serving(database_url, auth=auth) as client:
            body = b'{"token":"' + b"x" * (size - 12) + b'"}'
            response = await client.request("POST", "/api/session", body, {"Content-Type": "application/json"})
            assert response.status == status
