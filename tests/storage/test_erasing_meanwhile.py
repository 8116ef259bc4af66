"""What others write while something is erased: nothing of it is left behind, and they wait only where they must."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from chatserver.errors import NotFoundError, UnavailableError
from chatserver.metrics import Metrics
from chatserver.services import erasing
from chatserver.services.erasing import Erased, Erasing
from chatserver.storage import conversations, erase, erase_many, revisions
from chatserver.storage.branch import branch
from chatserver.storage.postgres.connections import make_engine, sqlstate
from chatserver.storage.postgres.database import Database
from tests.kit.everywhere import found_everywhere
from tests.kit.waiting import eventually
from tests.storage.conftest import Chat

pytestmark = pytest.mark.usefixtures("no_requests_under_way")

Transaction = Callable[[], AbstractContextManager[Connection]]
SECRET = "xyzzy"


@pytest.fixture
def engine(database_url: str) -> Any:
    """In place of the module's: each test looks through a whole database."""
    engine = make_engine(database_url, connections=4, statement_timeout_seconds=10)
    yield engine
    engine.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, connections=2, heavy=1, statement_timeout_seconds=10, metrics=Metrics("0"))
    yield database
    database.close()


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A transaction as branches have it."""
    with engine.execution_options(isolation_level="REPEATABLE READ").begin() as connection:
        yield connection


def pid(connection: Connection) -> int:
    found: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return found


async def hold_up(waiting: asyncio.Future[Any], connection: Connection, holder: int) -> None:
    """Wait until it waits for a transaction of that process; fails if it does not wait."""
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE :holder = ANY (pg_blocking_pids(pid))")
    await eventually(lambda: waiting.done() or bool(connection.execute(blocked, {"holder": holder}).scalar_one()))
    assert not waiting.done()


@pytest.mark.parametrize("of", ["author", "company"])
async def test_branch_that_is_being_made_is_erased_as_well(
    chat: Chat, engine: Engine, database: Database, database_url: str, of: str
) -> None:
    conversation = chat.conversation()
    question = chat.say(conversation, SECRET, author="ann")
    answer = chat.answer(conversation, question, f"to {SECRET}")
    erase_it = Erasing(database)
    with snapshot(engine) as copying:
        branch(copying, None, conversation, answer.id)
        # Nobody else waits for it.
        chat.say(conversation, "more", author="bob")
        conversations.change(chat.connection, None, conversation, {"title": "a title"})
        with engine.connect() as other:
            assert revisions.edit(other, None, conversation, question.id, f"{SECRET} edited") is not None
        erased = asyncio.ensure_future(
            erase_it.erase_author("ann", None) if of == "author" else erase_it.erase_company(chat.company)
        )
        await hold_up(erased, chat.connection, pid(copying))
    assert await erased == (Erased(messages=2) if of == "author" else Erased(conversations=2))
    assert found_everywhere(database_url, SECRET) == set()


def the_message(connection: Connection, conversation: UUID, message: UUID) -> None:
    erase.erase_message(connection, None, conversation, message)


def the_conversation(connection: Connection, conversation: UUID, _message: UUID) -> None:
    erase.erase_conversation(connection, None, conversation)


@pytest.mark.parametrize("erase_it", [the_message, the_conversation])
async def test_branch_waits_for_erasing_and_copies_nothing_of_it(
    chat: Chat, transaction: Transaction, engine: Engine, database: Database, database_url: str, erase_it: Any
) -> None:
    conversation = chat.conversation()
    secret = chat.say(conversation, SECRET)
    last = chat.say(conversation, "last")
    with transaction() as connection:
        erase_it(connection, conversation, secret.id)
        copied = asyncio.ensure_future(database.heavy(chat.company).transaction(branch, None, conversation, last.id))
        await hold_up(copied, chat.connection, pid(connection))
    if erase_it is the_message:
        made = await copied
        copies = text("SELECT content FROM chat_messages WHERE conversation_id = :made")
        assert chat.connection.execute(copies, {"made": made}).scalars().all() == ["last"]
    else:
        with pytest.raises(NotFoundError):
            await copied
    assert found_everywhere(database_url, SECRET) == set()


@pytest.mark.parametrize("erase_it", [the_message, the_conversation])
def test_branch_with_an_older_snapshot_is_to_be_repeated_only_after_erasing(
    chat: Chat, transaction: Transaction, engine: Engine, erase_it: Any
) -> None:
    conversation = chat.conversation()
    secret = chat.say(conversation, SECRET)
    last = chat.say(conversation, "last")
    with snapshot(engine) as connection:
        pid(connection)  # takes the snapshot
        chat.say(conversation, "more")
        conversations.change(chat.connection, None, conversation, {"title": "a title"})
        assert branch(connection, None, conversation, last.id)
    with snapshot(engine) as connection:
        pid(connection)
        with transaction() as other:
            erase_it(other, conversation, secret.id)
        with pytest.raises(OperationalError) as refused:
            branch(connection, None, conversation, last.id)
        assert sqlstate(refused.value) == "40001"


@pytest.mark.parametrize("of", ["author", "company"])
async def test_what_a_request_under_way_adds_is_erased_as_well(
    chat: Chat,
    transaction: Transaction,
    database: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    of: str,
) -> None:
    seen = asyncio.Event()
    loop, writers = asyncio.get_running_loop(), erase_many.writers

    def look(connection: Connection) -> frozenset[str]:
        found = writers(connection)
        loop.call_soon_threadsafe(seen.set)
        return found

    async def until_it_looks(erased: asyncio.Future[Any]) -> None:
        """Until it has looked whether it is over, and looks again."""
        for _ in range(2):
            seen.clear()
            looked = asyncio.ensure_future(seen.wait())
            await asyncio.wait({looked, erased}, return_when=asyncio.FIRST_COMPLETED)
            looked.cancel()
        assert not erased.done()

    monkeypatch.setattr(erase_many, "writers", look)
    conversation = chat.conversation()
    chat.say(conversation, SECRET, author="ann")
    erase_it = Erasing(database)

    def begin() -> Awaitable[Erased]:
        return erase_it.erase_author("ann", None) if of == "author" else erase_it.erase_company(chat.company)

    with transaction() as connection:
        adding = Chat(connection, chat.company)
        new = adding.conversation(SECRET if of == "company" else None)
        adding.say(new, SECRET, author="ann")
        erased = asyncio.ensure_future(begin())
        await until_it_looks(erased)
    assert await erased == (Erased(messages=2) if of == "author" else Erased(conversations=2))
    assert found_everywhere(database_url, SECRET) == set()
    event = text("SELECT count(*) FROM chat_audit WHERE event = :event AND details @> :details")
    named = {"event": f"{of}_erased", "details": '{"completed": true}' if of == "company" else '{"messages": 2}'}
    assert chat.connection.execute(event, named).scalar_one() == 1
    monkeypatch.setattr(erasing, "END_SECONDS", 0)
    with transaction() as connection:
        Chat(connection, chat.company).conversation()
        with pytest.raises(UnavailableError, match="does not end"):
            await begin()
    assert chat.connection.execute(event, named).scalar_one() == 1
