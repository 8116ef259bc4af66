"""Tokens as those who give them out see them: made, listed, changed and revoked, each with its entry in the log."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Connection, Row, func, select, text

from chatserver import credentials
from chatserver.errors import ConflictError, NotFoundError
from chatserver.storage import audit, sign_in, tokens
from chatserver.storage.access_tables import sessions
from chatserver.storage.postgres.connections import make_engine
from tests.kit.tokens import make_token, revoke

Transaction = Callable[[], AbstractContextManager[Connection]]


@pytest.fixture
def make(transaction: Transaction) -> Callable[..., Row[Any]]:
    def make(company: UUID | None, name: str = "ann", role: str = "member", days: int = 365) -> Row[Any]:
        with transaction() as connection:
            digest = credentials.digest(credentials.new_token())
            row = tokens.create(connection, digest=digest, company_id=company, name=name, role=role, expires_days=days)
            sign_in.open_session(connection, row.id, credentials.digest(credentials.new_cookie()), None)
            return row

    return make


def open_sessions(connection: Connection, *rows: Row[Any]) -> int:
    statement = select(func.count()).where(sessions.c.token_id.in_([row.id for row in rows]))
    return int(connection.execute(statement).scalar_one())


def told(connection: Connection, *rows: Row[Any]) -> list[tuple[str, dict[str, Any]]]:
    """What the log says about these tokens."""
    ids = {str(row.id) for row in rows}
    entries = audit.page(connection, limit=10_000)
    return [(entry.event, entry.details) for entry in entries if entry.details.get("tokenId") in ids]


def test_token_expires_when_it_was_said(make: Callable[..., Row[Any]], connection: Connection, company: UUID) -> None:
    row, for_ever = make(company, days=2), make(company, days=0)
    assert row.expires_at - row.created_at == timedelta(days=2)
    assert for_ever.expires_at is None
    assert [each.id for each in tokens.every(connection, company)] == [row.id, for_ever.id]
    assert {row.id, for_ever.id} <= {each.id for each in tokens.every(connection)}
    (_, details), (_, ever) = told(connection, row, for_ever)
    assert details["tokenName"] == "ann"
    assert details["expiresAt"].endswith("Z")
    assert ever["expiresAt"] is None


def test_revoking_ends_the_sessions_and_is_told_once(
    make: Callable[..., Row[Any]], transaction: Transaction, connection: Connection, company: UUID
) -> None:
    row, other = make(company), make(company)
    for revoked_before in (False, True):
        with transaction() as short:
            assert (tokens.revoke(short, row.id).revoked_at is not None) == revoked_before
    assert (open_sessions(connection, row), open_sessions(connection, other)) == (0, 1)
    assert [event for event, _ in told(connection, row)] == ["token_created", "token_revoked"]
    with transaction() as short, pytest.raises(NotFoundError):
        tokens.revoke(short, uuid4())


def test_all_tokens_of_a_company_or_of_the_administrators_are_revoked_and_no_others(
    make: Callable[..., Row[Any]], transaction: Transaction, connection: Connection, company: UUID
) -> None:
    own, others, admins = [make(company), make(company)], [make(uuid4())], [make(None, role="manager")]
    with transaction() as short:
        tokens.revoke(short, own[0].id)
        assert tokens.revoke_all(short, company) == 1
    assert [open_sessions(connection, *rows) for rows in (own, others, admins)] == [0, 1, 1]
    with transaction() as short:
        assert tokens.revoke_all(short, None) >= 1
    assert [open_sessions(connection, *rows) for rows in (own, others, admins)] == [0, 1, 0]
    assert [event for event, _ in told(connection, *own, *admins)].count("token_revoked") == 3


def test_only_tokens_that_let_somebody_in_are_there(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.connect() as connection:
        assert not tokens.are_there(connection)
        make_token(database_url, uuid4(), expires="-1 second")
        revoke(database_url, make_token(database_url, uuid4()))
        assert not tokens.are_there(connection)
        make_token(database_url, uuid4(), expires="1 day")
        assert tokens.are_there(connection)
    engine.dispose()


def test_session_is_opened_only_with_a_good_token(database_url: str) -> None:
    good, expired, revoked = (make_token(database_url, uuid4(), expires=each) for each in (None, "-1 second", None))
    revoke(database_url, revoked)
    engine = make_engine(database_url)
    with engine.begin() as connection:
        opened = [
            sign_in.open_session(connection, token, credentials.digest(credentials.new_cookie()), None)
            for token in (good.id, expired.id, revoked.id, uuid4())
        ]
    assert opened == [True, False, False, False]
    with ThreadPoolExecutor() as threads, psycopg.connect(database_url) as eraser, engine.begin() as connection:
        eraser.execute("DELETE FROM api_tokens")
        (pid,) = connection.execute(text("SELECT pg_backend_pid()")).one()
        waiting = threads.submit(sign_in.open_session, connection, good.id, b"x", None)
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)"
        while not waiting.done() and eraser.execute(waits, [pid]).fetchone() == (False,):
            pass
        eraser.commit()
        assert waiting.result() is False
    engine.dispose()


def test_role_changes_at_once_and_is_told_if_it_is_another(
    make: Callable[..., Row[Any]], transaction: Transaction, connection: Connection, company: UUID
) -> None:
    row = make(company)
    for role in ("manager", "manager", "reader"):
        with transaction() as short:
            tokens.change(short, row.id, role)
    [now] = tokens.every(connection, company)
    assert now.role == "reader"
    changes = [details for event, details in told(connection, row) if event == "token_changed"]
    assert [(each["formerRole"], each["role"]) for each in changes] == [("member", "manager"), ("manager", "reader")]
    assert open_sessions(connection, row) == 1


def test_role_of_an_administrator_and_of_a_revoked_token_cannot_be_changed(
    make: Callable[..., Row[Any]], transaction: Transaction, company: UUID
) -> None:
    admin, gone = make(None, role="manager"), make(company)
    with transaction() as short:
        tokens.revoke(short, gone.id)
    for row, reason in ((admin, "administrator's"), (gone, "revoked")):
        with transaction() as short, pytest.raises(ConflictError, match=reason):
            tokens.change(short, row.id, "reader")
    with transaction() as short, pytest.raises(NotFoundError):
        tokens.change(short, uuid4(), "reader")
