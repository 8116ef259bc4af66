"""For tests of the storage: connections like those of `Database`, and short ways to add rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, Row, func, insert, select

from chatserver.ids import uuid7
from chatserver.live.outcomes import RunKey
from chatserver.services import erasing
from chatserver.storage import conversations, messages
from chatserver.storage.postgres.connections import make_engine
from chatserver.storage.tables import messages as message_table
from chatserver.storage.tables import runs
from tests.storage.answer_stores import MemoryStores, NamedProvider, PostgresStores, StoresUnderTest


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = make_engine(module_database_url, connections=8, statement_timeout_seconds=10)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection in autocommit."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def transaction(engine: Engine) -> Callable[[], AbstractContextManager[Connection]]:
    """`with transaction() as connection:` is committed at its end, or rolled back."""
    transactions = engine.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def begin() -> Iterator[Connection]:
        with transactions.begin() as connection:
            yield connection

    return begin


@pytest.fixture
def company() -> UUID:
    """The id of a company that only this test uses."""
    return uuid4()


class Chat:
    """Adds rows to the database, in one line each."""

    def __init__(self, connection: Connection, company: UUID) -> None:
        self.connection = connection
        self.company = company

    def conversation(self, title: str | None = None, agent_id: UUID | None = None) -> UUID:
        row = conversations.create(self.connection, company_id=self.company, title=title, agent_id=agent_id)
        return UUID(str(row.id))

    def say(self, conversation_id: UUID, content: str, role: str = "user", **columns: Any) -> Row[Any]:
        row = messages.insert_message(
            self.connection, companies=None, conversation_id=conversation_id, role=role, content=content, **columns
        )
        assert row is not None
        return row

    def run(self, conversation_id: UUID, status: str, *, lease_seconds: float = 10, **columns: Any) -> UUID:
        run_id = uuid7()
        self.connection.execute(
            insert(runs).values(
                id=run_id,
                conversation_id=conversation_id,
                status=status,
                owner=uuid4(),
                epoch=1,
                lease_until=func.now() + timedelta(seconds=lease_seconds),
                started_at=func.now(),
                **columns,
            )
        )
        return run_id

    def answer(self, conversation_id: UUID, question: Row[Any], content: str, status: str = "completed") -> Row[Any]:
        """Add an answer to the present wording of a question, and its run."""
        wording = select(message_table.c.wording).where(message_table.c.id == question.id)
        row = self.say(
            conversation_id,
            content,
            "assistant",
            reply_to=question.id,
            status="stopped" if status == "kept" else "completed",
            input_tokens=3,
            output_tokens=4,
            stop_reason="stop",
        )
        self.run(
            conversation_id,
            status,
            trigger_message_id=question.id,
            trigger_wording=self.connection.execute(wording).scalar_one(),
            answer_message_id=row.id,
        )
        return row


@pytest.fixture
def no_requests_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sends a request here: erasing need not let any begin."""
    monkeypatch.setattr(erasing, "BEGIN_SECONDS", 0)


@pytest.fixture
def chat(connection: Connection, company: UUID) -> Chat:
    return Chat(connection, company)


@pytest.fixture(params=["memory", "postgresql", "postgresql in batches"])
def stores(request: pytest.FixtureRequest) -> Iterator[StoresUnderTest]:
    provider = NamedProvider(needs_user_turn=True)
    made: StoresUnderTest
    if request.param == "memory":
        made = MemoryStores(provider)
    else:
        engine: Engine = request.getfixturevalue("engine")
        batches = request.param == "postgresql in batches"
        made = PostgresStores(provider, engine, request.getfixturevalue("module_database_url"), in_batches=batches)
    yield made
    made.close()


@pytest.fixture
def key(stores: StoresUnderTest) -> RunKey:
    """The answer to the only question of a conversation."""
    conversation = stores.conversation()
    return stores.key(conversation, stores.say(conversation))
