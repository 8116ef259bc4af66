"""Agents: their list, their changes, and who sees them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from chatserver.errors import ValidationError
from chatserver.storage import agents
from tests.storage.plans import nodes_of, plans, rows_looked_at

CONFIG = {"provider": "main", "systemPrompt": "be brief"}


def create(connection: Connection, company: UUID, name: str = "a") -> Any:
    return agents.create(connection, company_id=company, name=name, adapter_type="llm", adapter_config=CONFIG)


def test_created_agent_is_found(connection: Connection, company: UUID) -> None:
    row = create(connection, company)
    assert (row.name, row.adapter_type, row.adapter_config, row.status) == ("a", "llm", CONFIG, "active")
    assert row.created_at == row.updated_at
    assert agents.get(connection, None, row.id) == row
    assert agents.lock(connection, [company], row.id) == row
    assert agents.find(connection, company, row.id) == row


def test_change_replaces_all_given_columns(connection: Connection, company: UUID) -> None:
    row = create(connection, company)
    changed = agents.change(connection, None, row.id, name="b", adapter_type="echo", adapter_config={})
    assert changed is not None
    assert (changed.name, changed.adapter_type, changed.adapter_config) == ("b", "echo", {})
    assert changed.updated_at > row.updated_at
    assert changed.created_at == row.created_at


def test_deleted_agent_is_not_found_but_its_row_stays(connection: Connection, company: UUID) -> None:
    row = create(connection, company)
    assert agents.soft_delete(connection, None, row.id)
    assert not agents.soft_delete(connection, None, row.id)
    assert agents.get(connection, None, row.id) is None
    assert agents.lock(connection, None, row.id) is None
    assert agents.find(connection, company, row.id) is None
    assert agents.change(connection, None, row.id, name="b", adapter_type="echo", adapter_config={}) is None
    assert agents.list_page(connection, company_id=company, limit=10).rows == []
    everything = agents.list_page(connection, company_id=company, status="all", limit=10).rows
    assert [(one.id, one.name) for one in everything] == [(row.id, "a")]
    named = connection.execute(text("SELECT name FROM agents WHERE id = :id"), {"id": row.id}).scalar_one()
    assert named == "a"


def test_agent_of_another_company_is_not_found(connection: Connection, company: UUID) -> None:
    row = create(connection, company)
    companies = [uuid4()]
    assert agents.get(connection, companies, row.id) is None
    assert agents.lock(connection, companies, row.id) is None
    assert agents.change(connection, companies, row.id, name="b", adapter_type="echo", adapter_config={}) is None
    assert not agents.soft_delete(connection, companies, row.id)
    assert agents.find(connection, companies[0], row.id) is None
    assert agents.get(connection, [company], row.id) == row


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_pages_list_the_oldest_agents_first(
    connection: Connection, transaction: Callable[[], AbstractContextManager[Connection]], company: UUID, limit: int
) -> None:
    create(connection, company, "0")
    with transaction() as together:  # these have the same time
        for number in range(1, 5):
            create(together, company, str(number))
    seen: list[str] = []
    cursor = None
    while True:
        page = agents.list_page(connection, company_id=company, limit=limit, cursor=cursor)
        seen += [row.name for row in page.rows]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == list("01234")


def test_cursor_of_another_list_is_refused(connection: Connection, company: UUID) -> None:
    create(connection, company)
    create(connection, company)
    cursor = agents.list_page(connection, company_id=company, limit=1).next_cursor
    with pytest.raises(ValidationError):
        agents.list_page(connection, company_id=uuid4(), limit=1, cursor=cursor)


@pytest.mark.parametrize("status", ["active", "all"])
def test_list_reads_no_more_than_its_page(
    transaction: Callable[[], AbstractContextManager[Connection]], company: UUID, status: agents.AgentStatusFilter
) -> None:
    with transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO agents (id, company_id, name, adapter_type, adapter_config, created_at, updated_at)"
                " SELECT gen_random_uuid(), :company, n, 'echo', '{}', now() + n * interval '1 s', now()"
                " FROM generate_series(1, 5000) AS n"
            ),
            {"company": company},
        )
        connection.exec_driver_sql("ANALYZE agents")
        connection.exec_driver_sql("LOAD 'auto_explain'")
        with plans(connection) as explained:
            agents.list_page(connection, company_id=company, status=status, limit=10)
    assert explained
    for plan in explained:
        assert all(rows_looked_at(node) < 100 for node in nodes_of(plan["Plan"])), plan["Query Text"]
