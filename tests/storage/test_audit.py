"""The table of the audit log: entries are added and read, and nothing else, but for those that are too old."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from chatserver.audit_events import AgentDeleted, SignIn
from chatserver.logs import request_id
from chatserver.origin import Origin, origin
from chatserver.storage import audit, conversations
from chatserver.storage.postgres.connections import make_engine
from chatserver.storage.postgres.migrate import upgrade
from chatserver.storage.postgres.vacuum import TABLES, renew_samples
from tests.storage.conftest import Chat

DOCS = Path(__file__).resolve().parents[2] / "docs/audit.md"
Transaction = Callable[[], AbstractContextManager[Connection]]


class Sender:
    client = "192.0.2.1"


def ages(connection: Connection, company: UUID, *days: float) -> None:
    """Add entries of these ages."""
    for age in days:
        audit.record(connection, SignIn(company_id=company))
        # A new row, since the trigger refuses to change one.
        connection.execute(
            text(
                "INSERT INTO chat_audit SELECT gen_random_uuid(), now() - make_interval(secs => :seconds), version, "
                "event, company_id, actor, token_id, address, request_id, details FROM chat_audit "
                "WHERE company_id = :company ORDER BY at DESC LIMIT 1"
            ),
            {"seconds": age * 86_400, "company": company},
        )


def test_entry_tells_the_request_that_the_context_serves(connection: Connection, company: UUID) -> None:
    token, agent = uuid4(), uuid4()
    event = AgentDeleted(company_id=company, agent_id=agent, agent_name="A")
    audit.record(connection, event)
    before = origin.set(Origin(Sender(), "ann", token)), request_id.set("r-1")
    try:
        audit.record(connection, event)
        audit.record(connection, SignIn(company_id=company), actor="bob", token_id=agent)
    finally:
        origin.reset(before[0])
        request_id.reset(before[1])
    rows = audit.page(connection, company_id=company, limit=10)
    assert [(row.event, row.version, row.actor, row.token_id, row.address, row.request_id) for row in rows] == [
        ("agent_deleted", 1, None, None, None, None),
        ("agent_deleted", 1, "ann", token, "192.0.2.1", "r-1"),
        ("sign_in", 1, "bob", agent, "192.0.2.1", "r-1"),
    ]
    assert rows[0].details == {"agentId": str(agent), "agentName": "A"}
    assert datetime.now(UTC) - rows[0].at < timedelta(minutes=1)


def test_pages_join_without_gap_and_keep_to_time_and_company(connection: Connection, company: UUID) -> None:
    ages(connection, company, 3, 2, 1)
    ages(connection, uuid4(), 2)
    whole = audit.page(connection, company_id=company, limit=100)
    assert [row.at for row in whole] == sorted(row.at for row in whole)
    assert len(whole) == 6
    paged: list[UUID] = []
    last = None
    while rows := audit.page(connection, company_id=company, after=last, limit=2):
        paged += [row.id for row in rows]
        last = rows[-1]
    assert paged == [row.id for row in whole]
    since = datetime.now(UTC) - timedelta(days=1.5)
    assert len(audit.page(connection, company_id=company, since=since, limit=100)) == 4
    assert len(audit.page(connection, since=since, limit=100)) >= 5


@pytest.mark.parametrize(
    "statement",
    ["UPDATE chat_audit SET actor = 'x'", "DELETE FROM chat_audit", "TRUNCATE chat_audit"],
)
def test_entries_are_not_changed_and_not_removed(transaction: Transaction, company: UUID, statement: str) -> None:
    with transaction() as connection:
        audit.record(connection, SignIn(company_id=company))
    with pytest.raises(DBAPIError, match="append-only"), transaction() as connection:
        connection.execute(text(statement))
    with transaction() as connection:
        connection.execute(text("SET LOCAL chatserver.audit_retention = 'on'"))
        if not statement.startswith("DELETE"):
            with pytest.raises(DBAPIError, match="append-only"):
                connection.execute(text(statement))


def test_only_entries_that_are_too_old_are_removed_and_so_many_at_once(
    transaction: Transaction, connection: Connection, company: UUID
) -> None:
    ages(connection, company, 30.1, 40, 29.9)
    for removed in (1, 1, 0):
        with transaction() as short:
            assert audit.remove_older(short, 30, 1) == removed
    ages_left = [datetime.now(UTC) - row.at for row in audit.page(connection, company_id=company, limit=10)]
    assert len(ages_left) == 4
    assert max(ages_left) < timedelta(days=30)


def test_entry_of_a_change_that_fails_is_not_there(transaction: Transaction, company: UUID) -> None:
    with transaction() as connection:
        audit.record(connection, SignIn(company_id=company))
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT 1 / 0"))
    with transaction() as connection:
        assert audit.page(connection, company_id=company, limit=1) == []


def test_role_of_the_server_cannot_change_the_log_where_another_role_owns_it(
    postgres_url: str, make_empty_database: Callable[[], str]
) -> None:
    """What docs/audit.md tells operators to do, done."""
    mark = uuid4().hex[:8]
    names = {"chat_owner": f"owner_{mark}", "chat_server": f"server_{mark}"}
    roles, grants, removal = re.findall(r"```sql\n(.*?)```", DOCS.read_text(), re.DOTALL)
    url = make_empty_database()
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        database = conninfo_to_dict(url)["dbname"]
        for line in renamed(roles, names).splitlines():
            if line.startswith("CREATE ROLE"):
                admin.execute(line)
        admin.execute(f"ALTER DATABASE {database} OWNER TO {names['chat_owner']}")
    try:
        owner, server = (make_conninfo(url, user=name) for name in names.values())
        upgrade(owner)
        with psycopg.connect(owner) as connection:
            connection.execute(renamed(grants, names))
        upgrade(server)  # as `serve` does at each start
        as_server(server)
        with psycopg.connect(owner) as connection:
            connection.execute(
                "INSERT INTO chat_audit SELECT gen_random_uuid(), at - interval '1 year', 1, event, "
                "NULL, NULL, NULL, NULL, NULL, '{}' FROM chat_audit"
            )
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(removal)
            assert connection.execute("SELECT count(*) FROM chat_audit").fetchone() == (1,)
    finally:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"REASSIGN OWNED BY {names['chat_owner']} TO CURRENT_USER")
            for name in names.values():
                admin.execute(f"DROP OWNED BY {name}")
                admin.execute(f"DROP ROLE {name}")


def as_server(url: str) -> None:
    """What the server does with its role: all but to change the log."""
    engine = make_engine(url)
    with engine.connect() as connection:
        chat = Chat(connection, uuid4())
        question = chat.say(chat.conversation(), "q")
        chat.answer(question.conversation_id, question, "a")
        assert conversations.soft_delete(connection, None, question.conversation_id)
        audit.record(connection, SignIn())
        assert audit.remove_older(connection, 0, 10) == 0
        for table in TABLES:
            renew_samples(connection, table)  # it is another role's: nothing happens
        for statement in (
            "UPDATE chat_audit SET actor = 'x'",
            "DELETE FROM chat_audit",
            "TRUNCATE chat_audit",
            "DROP TRIGGER chat_audit_keep ON chat_audit",
            "ALTER TABLE chat_audit DISABLE TRIGGER ALL",
            "UPDATE alembic_version SET version_num = '0001'",
        ):
            with pytest.raises(DBAPIError, match="permission denied|must be owner"):
                connection.execute(text(statement))
    engine.dispose()


def renamed(sql: str, names: dict[str, str]) -> str:
    return re.sub("|".join(names), lambda found: names[found[0]], sql)
