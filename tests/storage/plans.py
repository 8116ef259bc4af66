"""The plans of statements, as PostgreSQL carries them out; and turns in batches on a single connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Connection

from chatserver.ids import uuid7
from chatserver.live.outcomes import Claimed
from chatserver.live.store import NewMessage, OpenRequest
from chatserver.providers.echo import EchoProvider
from chatserver.services.provider_choice import ProviderChoice
from chatserver.services.turns import Turns
from chatserver.storage.answers import Answer
from chatserver.storage.turns.statements import SESSION_SETTINGS

LARGE_TABLES = frozenset({"chat_conversations", "chat_messages", "chat_runs", "chat_search"})

# --- plans ------------------------------------------------------------------------------------------------


@contextmanager
def plans(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    """The plans, with actual rows, of all statements that are executed in the context, also by triggers."""
    explained: list[dict[str, Any]] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        _, found, plan = (notice.message_primary or "").partition("plan:\n")
        if found:
            explained.append(json.loads(plan))

    driver = connection.connection.driver_connection
    assert driver is not None
    driver.add_notice_handler(note)
    for setting, value in AUTO_EXPLAIN.items():
        connection.exec_driver_sql(f"SET LOCAL {setting} = {value}")
    yield explained
    # A plan is reported when its statement is closed, which may be when the next one is executed.
    connection.exec_driver_sql("SET LOCAL auto_explain.log_min_duration = -1")
    driver.remove_notice_handler(note)


AUTO_EXPLAIN = {
    "client_min_messages": "notice",
    "auto_explain.log_level": "notice",
    "auto_explain.log_format": "json",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_min_duration": "0",
}


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes_of(below)


def rows_looked_at(node: dict[str, Any]) -> float:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


def read_whole(plan: dict[str, Any]) -> set[str]:
    """The large tables that a plan reads as a whole."""
    scans = (node for node in nodes_of(plan["Plan"]) if node["Node Type"] == "Seq Scan")
    return {node["Relation Name"] for node in scans} & LARGE_TABLES


# --- turns ------------------------------------------------------------------------------------------------


class OnConnection:
    """Stands in for `Database`: all calls run in the transaction of the test."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def transaction(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(self._connection, *args, **kwargs)

    autocommit = transaction


def set_session(connection: Connection) -> None:
    """Set what holds in the sessions of batches, until the transaction ends."""
    for setting, value in SESSION_SETTINGS.items():
        connection.exec_driver_sql(f"SET LOCAL {setting} = {value}")


def take_turns(connection: Connection, places: Sequence[UUID], agent_id: UUID) -> None:
    """Have each of these conversations take two turns, all at once: one in three statements, and one that asks."""
    database: Any = OnConnection(connection)
    turns = Turns(database, ProviderChoice({}, EchoProvider(), None), uuid7(), 10)

    async def open_and_commit(request: OpenRequest) -> None:
        opened = await turns.open(request)
        assert opened is not None
        assert isinstance(opened.outcome, Claimed)
        run = opened.outcome
        answer = Answer(
            run.run_id,
            run.epoch,
            uuid7(),
            "that",
            kept=False,
            input_tokens=None,
            output_tokens=None,
            model=None,
            stop_reason=None,
            duration_ms=None,
            reasoning=None,
            reasoning_ms=None,
        )
        assert await turns.commit(answer)

    async def turn(place: UUID) -> None:
        key = str(uuid7())
        added = await turns.add_message(None, place, key, role="user", content="what?", agent_id=agent_id)
        assert added is not None
        await open_and_commit(OpenRequest(None, place, added.message.message_id if place.int % 2 else None))

    async def all_turns() -> None:
        await asyncio.gather(*map(turn, places))
        await asyncio.gather(
            *(open_and_commit(OpenRequest(None, place, message=NewMessage("what?", agent_id))) for place in places)
        )

    asyncio.run(all_turns())
