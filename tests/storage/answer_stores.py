"""What the conformance suite of `live.store.AnswerStore` runs against: the store in memory, and the one on PostgreSQL.

Each is set up and looked at from behind, with the same words.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Engine, delete, func, select, text, update

from chatserver.ids import uuid7
from chatserver.live.absence import Absence
from chatserver.live.outcomes import NOBODY, Askers, Claimed, Committed, Lost, Place, RunKey, RunState
from chatserver.live.sharing_store import Position, SharingStore
from chatserver.live.store import AnswerStore, NewAnswer, OpenRequest
from chatserver.metrics import Metrics
from chatserver.providers.base import Finish, Prompt, Sink, Usage
from chatserver.services.answer_store import PostgresAnswerStore
from chatserver.services.provider_choice import ProviderChoice
from chatserver.services.sharing_store import PostgresSharingStore
from chatserver.services.turns import Turns
from chatserver.storage import conversations, messages
from chatserver.storage.access_tables import tokens
from chatserver.storage.frames import SESSION_SETTINGS as SHARING_SESSION_SETTINGS
from chatserver.storage.postgres.database import Database
from chatserver.storage.sharing_tables import frames as frame_table
from chatserver.storage.sharing_tables import waiting
from chatserver.storage.tables import messages as message_table
from chatserver.storage.tables import runs as run_table
from chatserver.storage.turns.statements import SESSION_SETTINGS
from tests.kit.memory_sharing import MemorySharingStore
from tests.kit.memory_store import MemoryDatabase, MemoryStore, Message
from tests.kit.tokens import make_token

LEASE_SECONDS = 15.0


class NamedProvider:
    """A provider that is never asked."""

    def __init__(self, *, needs_user_turn: bool) -> None:
        self.model: str | None = None
        self.needs_user_turn = needs_user_turn
        self.max_prompt_chars = 1_000

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        raise AssertionError("nothing is generated here")

    def close(self) -> None: ...


class StoredAnswer(NamedTuple):
    """What is stored of an answer."""

    text: str
    kept: bool
    usage: Usage | None = None
    model: str | None = None
    stop_reason: str | None = None
    duration_ms: int | None = None
    reasoning: str | None = None
    reasoning_ms: int | None = None


def new_answer(text: str = "So.", *, message_id: UUID | None = None, kept: bool = False) -> NewAnswer:
    """An answer of which nothing more is known than its text."""
    return NewAnswer(
        message_id or uuid7(),
        text,
        kept,
        None,
        stop_reason=None,
        model=None,
        duration_ms=None,
        reasoning=None,
        reasoning_ms=None,
    )


class StoresUnderTest(ABC):
    """Two processes' stores, `here` and `there`, on one database."""

    here: AnswerStore
    there: AnswerStore
    sharing_here: SharingStore
    sharing_there: SharingStore

    def __init__(self, provider: NamedProvider) -> None:
        self.provider = provider
        self.company = uuid4()

    # --- what a test does through a store -----------------------------------------------------------------

    def key(self, conversation_id: UUID, trigger_id: UUID | None) -> RunKey:
        return RunKey(self.company, conversation_id, trigger_id)

    async def claimed(self, key: RunKey, *, store: AnswerStore | None = None, askers: Askers = NOBODY) -> Claimed:
        """A claim of the answer, `here` or in another process, that must succeed."""
        outcome = await (store or self.here).claim(key, uuid7(), askers=askers)
        assert isinstance(outcome, Claimed), outcome
        return outcome

    async def commit(
        self,
        claimed: Claimed,
        text: str = "So.",
        *,
        message_id: UUID | None = None,
        kept: bool = False,
        store: AnswerStore | None = None,
        **known: Any,
    ) -> Committed | Lost:
        """Commit an answer, `here` or in another process. `known`: what else is known of it."""
        answer = replace(new_answer(text, message_id=message_id, kept=kept), **known)
        return await (store or self.here).commit(claimed.run_id, claimed.epoch, answer)

    def request(self, key: RunKey, **changes: Any) -> OpenRequest:
        """The request of a client of the company that asks for an answer."""
        return replace(OpenRequest([self.company], key.conversation_id, key.trigger_id), **changes)

    async def look(self, run_id: UUID) -> RunState:
        """The state of a run, as the other process sees it."""
        looks = await self.sharing_there.look([Position(run_id, 1, 0)])
        return looks[run_id].state

    # --- what a test does behind its back -----------------------------------------------------------------

    @abstractmethod
    def conversation(self) -> UUID: ...

    @abstractmethod
    def say(self, conversation_id: UUID, content: str = "?", role: str = "user") -> UUID:
        """Add a message; its id."""

    @abstractmethod
    def delete(self, conversation_id: UUID) -> None: ...

    @abstractmethod
    def supersede(self, message_id: UUID) -> None: ...

    @abstractmethod
    def edit_answer(self, message_id: UUID, content: str) -> None: ...

    @abstractmethod
    def expire(self, run_id: UUID, *, seconds_ago: float = 1.0) -> None:
        """Let the lease of a run end in the past."""

    @abstractmethod
    def expire_place(self, place: Place) -> None:
        """Let a place end in the past."""

    @abstractmethod
    def empty_queues(self) -> None:
        """Forget all places, as a crash of PostgreSQL does."""

    @abstractmethod
    def token(self, expires: str | None = None) -> UUID:
        """A token of the company. `expires`: an interval from now, as PostgreSQL writes it."""

    @abstractmethod
    def revoke(self, token_id: UUID) -> None: ...

    @abstractmethod
    def status(self, run_id: UUID) -> str: ...

    @abstractmethod
    def contents(self, conversation_id: UUID) -> list[str]:
        """The messages of users."""

    @abstractmethod
    def answers(self, conversation_id: UUID) -> list[StoredAnswer]: ...

    @abstractmethod
    def frames(self, run_id: UUID) -> int:
        """How many rows of events there are for other processes."""

    @abstractmethod
    def lose_frames(self, run_id: UUID) -> None:
        """As a crash of the database loses them."""

    @abstractmethod
    def close(self) -> None: ...


class MemoryStores(StoresUnderTest):
    """The stores of the tests of the live layer."""

    def __init__(self, provider: NamedProvider) -> None:
        super().__init__(provider)
        self._database = MemoryDatabase(lambda: 1_000.0, provider)
        self.here, self.there = here, there = MemoryStore(self._database), MemoryStore(self._database)
        self.sharing_here, self.sharing_there = MemorySharingStore(here), MemorySharingStore(there)

    def conversation(self) -> UUID:
        conversation_id = uuid7()
        self._database.conversations[conversation_id] = self.company
        return conversation_id

    def say(self, conversation_id: UUID, content: str = "?", role: str = "user") -> UUID:
        message_id = uuid7()
        self._database.messages[message_id] = Message(message_id, conversation_id, content, role)
        return message_id

    def delete(self, conversation_id: UUID) -> None:
        self._database.deleted.add(conversation_id)

    def supersede(self, message_id: UUID) -> None:
        self._database.messages[message_id].superseded = True

    def edit_answer(self, message_id: UUID, content: str) -> None:
        for row in self._database.rows.values():
            if row.answer is not None and row.answer.new.message_id == message_id:
                row.answer.edited = content

    def expire(self, run_id: UUID, *, seconds_ago: float = 1.0) -> None:
        self._database.rows[run_id].lease_until = self._database.clock() - seconds_ago

    def expire_place(self, place: Place) -> None:
        self._database.places.entries[place.id].until = self._database.clock() - 1

    def empty_queues(self) -> None:
        self._database.places.entries.clear()

    def token(self, expires: str | None = None) -> UUID:
        token_id = uuid7()
        if expires is not None and expires.startswith("-"):
            self._database.revoked.add(token_id)
        return token_id

    def revoke(self, token_id: UUID) -> None:
        self._database.revoked.add(token_id)

    def status(self, run_id: UUID) -> str:
        return self._database.rows[run_id].status

    def contents(self, conversation_id: UUID) -> list[str]:
        return [
            message.content
            for message in self._database.messages.values()
            if message.conversation_id == conversation_id and message.role == "user"
        ]

    def answers(self, conversation_id: UUID) -> list[StoredAnswer]:
        return [
            StoredAnswer(
                row.answer.new.text,
                row.status == "kept",
                row.answer.new.usage,
                row.answer.new.model,
                row.answer.new.stop_reason,
                row.answer.new.duration_ms,
                row.answer.new.reasoning,
                row.answer.new.reasoning_ms,
            )
            for row in self._database.rows.values()
            if row.key.conversation_id == conversation_id and row.answer is not None
        ]

    def frames(self, run_id: UUID) -> int:
        row = self._database.rows[run_id]
        return 0 if row.status != "active" else len(self._database.frames.get((run_id, row.epoch), {}))

    def lose_frames(self, run_id: UUID) -> None:
        self._database.frames = {key: there for key, there in self._database.frames.items() if key[0] != run_id}

    def close(self) -> None: ...


class PostgresStores(StoresUnderTest):
    """The stores of two processes on a real PostgreSQL; `engine` is the test's own way in.

    `in_batches`: the common case goes in batches, as in the server; else all goes the general way.
    """

    def __init__(self, provider: NamedProvider, engine: Engine, url: str, *, in_batches: bool) -> None:
        super().__init__(provider)
        self._engine = engine
        self._url = url
        self._databases: list[Database] = []
        here, there = uuid7(), uuid7()
        self.here, self.there = (self._store(owner, in_batches=in_batches) for owner in (here, there))
        self.sharing_here, self.sharing_there = (self._sharing_store(owner) for owner in (here, there))

    def _sharing_store(self, owner: UUID) -> PostgresSharingStore:
        return PostgresSharingStore(self._open(SHARING_SESSION_SETTINGS), owner, Absence(time.monotonic))

    def _store(self, owner: UUID, *, in_batches: bool) -> PostgresAnswerStore:
        """The store of a further process."""
        database, providers = self._open(), ProviderChoice({}, self.provider, None)
        turns = None
        if in_batches:
            turns = Turns(self._open(SESSION_SETTINGS), providers, owner, LEASE_SECONDS)
        return PostgresAnswerStore(database, database, providers, owner, LEASE_SECONDS, turns)

    def _open(self, session_settings: Mapping[str, str] | None = None) -> Database:
        database = Database(
            self._url,
            connections=2,
            statement_timeout_seconds=10,
            metrics=Metrics("0"),
            session_settings=session_settings,
        )
        self._databases.append(database)
        return database

    def conversation(self) -> UUID:
        with self._engine.connect() as connection:
            row = conversations.create(connection, company_id=self.company, title=None, agent_id=None)
        return UUID(str(row.id))

    def say(self, conversation_id: UUID, content: str = "?", role: str = "user") -> UUID:
        with self._engine.connect() as connection:
            row = messages.insert_message(
                connection, companies=None, conversation_id=conversation_id, role=role, content=content
            )
        assert row is not None
        return UUID(str(row.id))

    def delete(self, conversation_id: UUID) -> None:
        with self._engine.connect() as connection:
            assert conversations.soft_delete(connection, None, conversation_id)

    def supersede(self, message_id: UUID) -> None:
        self._change(message_table, message_id, superseded_at=func.now())

    def edit_answer(self, message_id: UUID, content: str) -> None:
        self._change(message_table, message_id, edited_content=content, edited_at=func.now())

    def expire(self, run_id: UUID, *, seconds_ago: float = 1.0) -> None:
        self._change(run_table, run_id, lease_until=func.clock_timestamp() - text(f"interval '{seconds_ago} seconds'"))

    def expire_place(self, place: Place) -> None:
        self._change(waiting, place.id, until=func.clock_timestamp() - text("interval '1 second'"))

    def empty_queues(self) -> None:
        with self._engine.connect() as connection:
            connection.execute(delete(waiting))

    def token(self, expires: str | None = None) -> UUID:
        return make_token(self._url, self.company, expires=expires).id

    def revoke(self, token_id: UUID) -> None:
        self._change(tokens, token_id, revoked_at=func.now())

    def status(self, run_id: UUID) -> str:
        with self._engine.connect() as connection:
            return str(connection.execute(select(run_table.c.status).where(run_table.c.id == run_id)).scalar_one())

    def contents(self, conversation_id: UUID) -> list[str]:
        return [row.content for row in self._messages(conversation_id, "user")]

    def answers(self, conversation_id: UUID) -> list[StoredAnswer]:
        return [
            StoredAnswer(
                row.content,
                row.status == "stopped",
                None if row.input_tokens is None else Usage(row.input_tokens, row.output_tokens),
                row.model,
                row.stop_reason,
                row.duration_ms,
                row.reasoning,
                row.reasoning_ms,
            )
            for row in self._messages(conversation_id, "assistant")
        ]

    def frames(self, run_id: UUID) -> int:
        with self._engine.connect() as connection:
            counted = select(func.count()).select_from(frame_table).where(frame_table.c.run_id == run_id)
            return int(connection.execute(counted).scalar_one())

    def lose_frames(self, run_id: UUID) -> None:
        with self._engine.connect() as connection:
            connection.execute(delete(frame_table).where(frame_table.c.run_id == run_id))

    def close(self) -> None:
        for database in self._databases:
            database.close()

    def _messages(self, conversation_id: UUID, role: str) -> list[Any]:
        table = message_table
        found = select(table).where(table.c.conversation_id == conversation_id, table.c.role == role)
        with self._engine.connect() as connection:
            return list(connection.execute(found.order_by(table.c.position)).all())

    def _change(self, table: Any, row_id: UUID, **values: Any) -> None:
        with self._engine.connect() as connection:
            assert connection.execute(update(table).where(table.c.id == row_id).values(**values)).rowcount == 1
