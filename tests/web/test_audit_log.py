"""What requests leave in the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import namedtuple_row
from sqlalchemy.exc import ProgrammingError

from chatserver.audit_events import SignInFailed
from chatserver.services import audit as audit_service
from tests.kit.served_app import Served, serving
from tests.kit.tokens import Token, make_token


def entries(url: str) -> Sequence[Any]:
    with psycopg.connect(url, row_factory=namedtuple_row) as connection:
        return connection.execute("SELECT * FROM chat_audit ORDER BY at, id").fetchall()


async def ask(client: Served, method: str, path: str, body: Any = None, token: Token | None = None) -> Any:
    headers = {"X-Request-Id": "r-1"} if token is None else {"X-Request-Id": "r-1", **token.bearer}
    response = await client.request(method, f"/api{path}", body, headers)
    assert response.status < 300, response
    return response.json if response.body and response.headers["Content-Type"] == "application/json" else None


async def use(client: Served, company: UUID, token: Token | None) -> dict[str, str]:
    """Do everything that is to be told; the ids."""
    agent = (await ask(client, "POST", f"/companies/{company}/agents", {"name": "A", "adapterType": "echo"}, token))[
        "id"
    ]
    await ask(client, "PATCH", f"/agents/{agent}", {"name": "B", "adapterType": "echo"}, token)
    await ask(client, "DELETE", f"/agents/{agent}", None, token)
    conversation = (await ask(client, "POST", f"/companies/{company}/conversations", {}, token))["id"]
    said = {"role": "user", "content": "marker word"}
    message = (await ask(client, "POST", f"/conversations/{conversation}/messages", said, token))["id"]
    for method in ("HEAD", "GET"):  # of a file whose head alone is asked for nothing leaves
        await ask(client, method, f"/conversations/{conversation}/export?format=markdown", None, token)
    await ask(client, "DELETE", f"/conversations/{conversation}/messages/{message}", None, token)
    await ask(client, "DELETE", f"/conversations/{conversation}?erase=true", None, token)
    return {"agent": agent, "conversation": conversation, "message": message}


def expected(ids: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    agent, conversation = {"agentId": ids["agent"]}, {"conversationId": ids["conversation"]}
    return [
        ("agent_created", {**agent, "agentName": "A"}),
        ("agent_changed", {**agent, "agentName": "B", "changed": ["name"]}),
        ("agent_deleted", {**agent, "agentName": "B"}),
        ("conversation_exported", {**conversation, "format": "markdown"}),
        ("message_erased", {**conversation, "messageId": ids["message"], "answers": 0}),
        ("conversation_erased", conversation),
    ]


async def test_changes_and_exports_are_told_with_who_made_them(database_url: str) -> None:
    company = uuid4()
    async with serving(database_url, auth="authenticated", trusted_proxies=("127.0.0.1",)) as client:
        token = make_token(database_url, company, role="manager", name="ann")
        ids = await use(client, company, token)
        refused = await client.request("DELETE", f"/api/agents/{ids['agent']}", None, token.bearer)
        assert refused.status == 404
        rows = entries(database_url)
    assert [(row.event, row.details) for row in rows] == expected(ids)
    told = {(row.company_id, row.actor, row.token_id, row.address, row.request_id, row.version) for row in rows}
    assert told == {(company, "ann", token.id, "127.0.0.1", "r-1", 1)}


async def test_nobody_is_named_in_local_trusted(database_url: str) -> None:
    company = uuid4()
    async with serving(database_url) as client:
        ids = await use(client, company, None)
        rows = entries(database_url)
    assert [(row.event, row.details) for row in rows] == expected(ids)
    told = {(row.company_id, row.actor, row.token_id, row.address, row.request_id) for row in rows}
    assert told == {(company, None, None, "127.0.0.1", "r-1")}


async def test_refused_changes_leave_no_entry(database_url: str) -> None:
    company, other = uuid4(), uuid4()
    async with serving(database_url, auth="authenticated") as client:
        owner = make_token(database_url, company, role="manager", name="ann")
        made = await ask(client, "POST", f"/companies/{company}/conversations", {}, owner)
        await ask(client, "POST", f"/conversations/{made['id']}/messages", {"role": "user", "content": "x"}, owner)
        for stranger in (
            make_token(database_url, other, role="manager", name="bob"),
            make_token(database_url, company, role="reader", name="eve"),
        ):
            for method, path in (
                ("DELETE", f"/conversations/{made['id']}?erase=true"),
                ("POST", f"/companies/{company}/agents"),
                ("GET", f"/conversations/{uuid4()}/export"),
            ):
                body = {"name": "A", "adapterType": "echo"} if method == "POST" else None
                response = await client.request(method, f"/api{path}", body, stranger.bearer)
                assert response.status in (403, 404), path
        assert entries(database_url) == []


async def test_reading_of_an_administrator_is_told_once_for_each_company(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = uuid4(), uuid4()
    async with serving(database_url, auth="authenticated") as client:
        owner = make_token(database_url, first, role="manager", name="ann")
        made = await ask(client, "POST", f"/companies/{first}/conversations", {}, owner)
        await ask(client, "GET", f"/conversations/{made['id']}", None, owner)
        admin, other = (make_token(database_url, None, role="manager", name=name) for name in ("root", "boss"))
        await ask(client, "POST", f"/companies/{first}/conversations", {}, admin)  # this reads nothing
        assert entries(database_url) == []
        paths = [f"/conversations/{made['id']}", f"/companies/{first}/conversations", f"/companies/{first}/search?q=x"]
        await asyncio.gather(*(ask(client, "GET", path, None, admin) for path in paths * 3))
        await ask(client, "GET", f"/companies/{second}/agents", None, admin)
        assert (await client.request("GET", f"/api/conversations/{uuid4()}", None, admin.bearer)).status == 404
        await ask(client, "POST", f"/conversations/{made['id']}/pin", None, other)
        rows = entries(database_url)
        assert {(row.event, row.actor, row.token_id, row.company_id) for row in rows} == {
            ("administrator_read", "root", admin.id, first),
            ("administrator_read", "root", admin.id, second),
            ("administrator_read", "boss", other.id, first),
        }
        assert len(rows) == 3
        monkeypatch.setattr(audit_service, "MAX_READS", 1)
        await ask(client, "GET", f"/companies/{uuid4()}/agents", None, other)
        assert len(client.app.audit._reads) <= 4
        client.app.audit.clock = lambda: 1e9
        await ask(client, "GET", paths[0], None, admin)
        assert [row.event for row in entries(database_url)] == ["administrator_read"] * 5


async def test_without_a_place_in_the_log_an_administrator_reads_nothing_and_nobody_exports(database_url: str) -> None:
    company = uuid4()
    async with serving(database_url, auth="authenticated") as client:
        owner = make_token(database_url, company, role="manager", name="ann")
        made = await ask(client, "POST", f"/companies/{company}/conversations", {}, owner)
        admin = make_token(database_url, None, role="manager", name="root")
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("ALTER TABLE chat_audit RENAME TO away")
        for path, token in (("", admin), ("/export", owner)):
            response = await client.request("GET", f"/api/conversations/{made['id']}{path}", None, token.bearer)
            assert response.status == 500
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("ALTER TABLE away RENAME TO chat_audit")
        await ask(client, "GET", f"/conversations/{made['id']}", None, admin)
        assert [row.event for row in entries(database_url)] == ["administrator_read"]


async def test_flood_of_failed_sign_ins_is_counted_and_not_written(database_url: str) -> None:
    now = 600.0
    async with serving(database_url) as client:
        log = client.app.audit
        log.clock = lambda: now
        for _ in range(audit_service.FAILURES_A_MINUTE + 5):
            await log.sign_in_failed(SignInFailed(way="bearer", reason="unknown"))
        # Of a token that was good once it is told all the same, once a minute.
        stolen = uuid4()
        for _ in range(2):
            await log.sign_in_failed(SignInFailed(way="bearer", reason="revoked"), actor="ann", token_id=stolen)
        assert entries(database_url)[-1].token_id == stolen
        now += 60
        await log.sign_in_failed(SignInFailed(way="session", reason="unknown"))
        rows = entries(database_url)
        assert [row.details["unrecorded"] for row in rows] == [0] * audit_service.FAILURES_A_MINUTE + [5, 1]
        assert b"chatserver_audit_unrecorded_sign_ins_total 6.0" in (await client.request("GET", "/metrics")).body


async def test_failed_sign_ins_that_cannot_be_written_are_told_by_the_next_entry(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_service, "FAILURES_A_MINUTE", 3)
    event = SignInFailed(way="bearer", reason="unknown")
    async with serving(database_url) as client:
        log = client.app.audit
        log.clock = lambda: 600.0
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("ALTER TABLE chat_audit RENAME TO away")
            for _ in range(2):
                with pytest.raises(ProgrammingError):
                    await log.sign_in_failed(event)
            connection.execute("ALTER TABLE away RENAME TO chat_audit")
        for _ in range(2):
            await log.sign_in_failed(event)
        log.clock = lambda: 660.0
        await log.sign_in_failed(event)
        assert [row.details["unrecorded"] for row in entries(database_url)] == [2, 1]
        assert b"chatserver_audit_unrecorded_sign_ins_total 3.0" in (await client.request("GET", "/metrics")).body
