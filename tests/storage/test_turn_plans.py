"""Turns in batches keep the plans of their first moments: PostgreSQL plans each statement once per session.

Here it plans them while the tables are nearly empty, and goes by statistics from that time.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine

from tests.storage.conftest import Chat
from tests.storage.plans import nodes_of, plans, read_whole, rows_looked_at, set_session, take_turns

MANY = 1_000
FEW_ROWS = 100

GROW = """
INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position)
SELECT gen_random_uuid(), %(long)s, 'user', '?', now(), -n FROM generate_series(1, %(many)s) AS n;
INSERT INTO agents (id, company_id, name, adapter_type, adapter_config, created_at, updated_at)
SELECT gen_random_uuid(), %(company)s, 'Agent', 'echo', '{}', now(), now() FROM generate_series(1, %(many)s);
WITH busy AS (
    INSERT INTO chat_conversations (id, company_id, created_at, updated_at)
    SELECT gen_random_uuid(), %(company)s, now(), now() FROM generate_series(1, %(many)s) RETURNING id
)
INSERT INTO chat_runs (id, conversation_id, status, owner, epoch, lease_until, started_at)
SELECT gen_random_uuid(), id, 'active', gen_random_uuid(), 1, now() + interval '1 hour', now() FROM busy;
"""


@pytest.fixture
def young(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is rolled back."""
    with engine.execution_options(isolation_level="READ COMMITTED").connect() as connection:
        connection.exec_driver_sql("LOAD 'auto_explain'")
        yield connection
        connection.rollback()


def test_turns_read_few_rows_by_plans_that_were_made_for_small_tables(young: Connection, company: UUID) -> None:
    chat = Chat(young, company)
    agent_id = UUID(int=company.int ^ 1)
    young.exec_driver_sql(
        "INSERT INTO agents (id, company_id, name, adapter_type, adapter_config, created_at, updated_at)"
        " VALUES (%(agent)s, %(company)s, 'Agent', 'echo', '{}', now(), now())",
        {"agent": agent_id, "company": company},
    )
    places = [chat.conversation() for _ in range(4)]
    for place in places:
        chat.answer(place, chat.say(place, "?"), "!")
    young.exec_driver_sql("ANALYZE")
    set_session(young)
    for _ in range(4):  # from the third time on the driver has prepared them
        take_turns(young, places, agent_id)
    for statement in GROW.strip().split(";\n"):
        young.exec_driver_sql(statement, {"company": company, "long": places[0], "many": MANY})
    # so that the first message is looked for
    young.exec_driver_sql("UPDATE chat_conversations SET title = NULL")
    with plans(young) as explained:
        take_turns(young, places, agent_id)
    assert explained
    for plan in explained:
        assert read_whole(plan) == set(), plan["Query Text"]
        for node in nodes_of(plan["Plan"]):
            if "Relation Name" in node:
                assert rows_looked_at(node) <= FEW_ROWS, (node, plan["Query Text"])
