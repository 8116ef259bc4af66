"""What is old is removed: the right rows, by one process at a time, and by another one if that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Connection, text

from chatserver.errors import DatabaseUnavailableError
from chatserver.metrics import Metrics
from chatserver.services import erasing, housekeeping
from chatserver.services.erasing import Erased, Erasing
from chatserver.services.housekeeping import Housekeeping, rules_of
from chatserver.settings import Settings
from chatserver.storage import conversations, erase_many, retention
from chatserver.storage.postgres.connections import make_engine
from chatserver.storage.postgres.database import Database
from chatserver.storage.sign_in import Lifetimes
from tests.kit.everywhere import found_everywhere
from tests.kit.served_app import serving
from tests.kit.start_stop import BackgroundService, check_start_stop
from tests.kit.tokens import execute, make_token
from tests.kit.waiting import eventually
from tests.storage.conftest import Chat

HOUR, DAY = 3_600, 86_400


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "LEAST_PAUSE_SECONDS", 0)
    monkeypatch.setattr(erase_many, "ROWS_A_LOOK", 3)
    monkeypatch.setattr(erase_many, "CONVERSATIONS_A_STEP", 2)


@pytest.fixture
def engine(database_url: str) -> Any:
    """In place of the module's: housekeeping is for a whole database."""
    engine = make_engine(database_url, connections=4, statement_timeout_seconds=10)
    yield engine
    engine.dispose()


@asynccontextmanager
async def keeping(
    url: str, *, forget: Callable[[UUID], None] = lambda _: None, **settings: Any
) -> AsyncIterator[Housekeeping]:
    """The housekeeping of one process."""
    database = Database(url, connections=2, statement_timeout_seconds=10, metrics=Metrics("0"))
    rules = rules_of(Settings(**settings))
    keeper = Housekeeping(database, rules, Lifetimes(12 * HOUR, 30 * DAY), audit_days=365, forget=forget)
    try:
        yield keeper
    finally:
        await keeper.close()
        await asyncio.to_thread(database.close)


def old(url: str, chat: Chat, name: str, *, touched: float = 0, deleted: float | None = None) -> UUID:
    """A conversation that was touched, and perhaps deleted, so many days ago."""
    conversation = chat.conversation()
    question = chat.say(conversation, name)
    chat.answer(conversation, question, f"to {name}")
    execute(
        url,
        "UPDATE chat_conversations SET updated_at = now() - make_interval(secs => %s),"
        " deleted_at = now() - make_interval(secs => %s) WHERE id = %s",
        touched * DAY,
        None if deleted is None else deleted * DAY,
        conversation,
    )
    return conversation


def left(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT content FROM chat_messages WHERE role = 'user'")}


def told(url: str) -> list[tuple[str, int, list[str]]]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT details FROM chat_audit WHERE event = 'retention_erased' ORDER BY at")
        return [(row[0]["setting"], row[0]["afterDays"], row[0]["conversationIds"]) for row in rows]


async def test_conversations_are_erased_as_the_settings_of_their_company_say(
    chat: Chat, connection: Connection, database_url: str
) -> None:
    own, never = Chat(connection, uuid4()), Chat(connection, uuid4())
    gone = [
        old(database_url, chat, "old", touched=10.1),
        old(database_url, chat, "deleted", deleted=3.1),
        old(database_url, chat, "old and deleted", touched=11, deleted=1),
        old(database_url, own, "older", touched=20.1),
        old(database_url, chat, "dead answer", touched=11),
    ]
    old(database_url, chat, "young", touched=9.9)
    old(database_url, chat, "deleted just now", deleted=2.9)
    old(database_url, own, "not old enough here", touched=19.9)
    old(database_url, own, "kept though deleted", deleted=100)
    old(database_url, never, "for ever", touched=1_000)
    pinned = old(database_url, chat, "pinned", touched=100)
    busy = old(database_url, chat, "busy", touched=100)
    for conversation in (pinned, gone[1]):  # a pin does not keep what was deleted
        execute(database_url, "UPDATE chat_conversations SET pinned_at = now() WHERE id = %s", conversation)
    chat.run(busy, "active", lease_seconds=1_000)
    chat.run(gone[4], "active", lease_seconds=-1)
    forgotten: list[UUID] = []
    companies = {
        own.company: {"retention_days": 20, "purge_deleted_days": 0},
        never.company: {"retention_days": 0},
    }
    async with keeping(
        database_url,
        forget=forgotten.append,
        retention_days=10,
        purge_deleted_days=3,
        companies={str(company): each for company, each in companies.items()},
    ) as keeper:
        assert await keeper.work_if_due()
        assert not await keeper.work_if_due()  # not before an hour has passed
    assert left(database_url) == {
        "young",
        "deleted just now",
        "not old enough here",
        "kept though deleted",
        "for ever",
        "pinned",
        "busy",
    }
    entries = told(database_url)
    assert sorted(each for _, _, ids in entries for each in ids) == sorted(map(str, gone))
    assert {(setting, days) for setting, days, _ in entries} == {
        ("retention_days", 10),
        ("retention_days", 20),
        ("purge_deleted_days", 3),
    }
    assert all(len(ids) <= 2 for _, _, ids in entries)
    assert sorted(forgotten) == sorted([chat.company, own.company])


async def test_nothing_is_erased_by_default_and_what_else_is_over_goes(database_url: str, chat: Chat) -> None:
    old(database_url, chat, "old", touched=10_000, deleted=10_000)
    token = make_token(database_url, chat.company)
    ages = {"fresh": (1, 1), "idle": (13, 13), "long": (31 * 24, 1)}
    for name, (created, used) in ages.items():
        execute(
            database_url,
            "INSERT INTO chat_sessions VALUES (gen_random_uuid(), %s, %s, now() - make_interval(hours => %s),"
            " now() - make_interval(hours => %s))",
            name.encode(),
            token.id,
            created,
            used,
        )
    for age in ("-1 hour", "1 hour"):
        row = f"(gen_random_uuid(), gen_random_uuid(), 1, now() + '{age}')"
        execute(database_url, f"INSERT INTO chat_open_streams VALUES {row}")
    for days in (364, 366, 400):
        execute(
            database_url,
            "INSERT INTO chat_audit VALUES (gen_random_uuid(), now() - make_interval(days => %s), 1, 'sign_out', NULL,"
            " NULL, NULL, NULL, NULL, '{}')",
            days,
        )
    async with keeping(database_url) as keeper:
        assert await keeper.work_if_due()
    assert left(database_url) == {"old"}
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT array_agg(digest) FROM chat_sessions").fetchone() == ([b"fresh"],)
        assert connection.execute("SELECT count(*) FROM chat_open_streams").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM chat_audit").fetchone() == (1,)


async def test_what_cannot_be_removed_keeps_nothing_else(
    database_url: str, chat: Chat, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    other = Chat(connection, uuid4())
    broken, *_ = [old(database_url, chat, f"old {number}", touched=2) for number in range(7)]
    alone, slow = old(database_url, other, "alone", touched=2), old(database_url, other, "slow", touched=2)
    for age in ("400 days", "0 days"):
        row = "(gen_random_uuid(), now() - %s::interval, 1, 'sign_out', NULL, NULL, NULL, NULL, NULL, '{}')"
        statement = f"INSERT INTO chat_audit VALUES {row}"
        execute(database_url, statement, age)
    token = make_token(database_url, chat.company)
    statement = "INSERT INTO chat_sessions VALUES (gen_random_uuid(), '', %s, now() - interval '13 hours', '-infinity')"
    execute(database_url, statement, token.id)
    failure = "CREATE FUNCTION {0}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {1}; RETURN OLD; END $$"
    trigger = "CREATE TRIGGER a_{3} BEFORE DELETE ON {0} FOR EACH ROW WHEN (OLD.{1} = '{2}') EXECUTE FUNCTION {3}()"
    execute(database_url, failure.format("fails", "RAISE 'broken'"))
    execute(database_url, failure.format("lasts", "RAISE query_canceled"))  # as when the time is over
    for table, column, value, function in (
        ("chat_conversations", "id", broken, "fails"),
        ("chat_messages", "conversation_id", alone, "fails"),
        ("chat_messages", "conversation_id", slow, "lasts"),
        ("chat_audit", "event", "sign_out", "fails"),
    ):
        execute(database_url, trigger.format(table, column, value, function))
    forgotten: list[UUID] = []
    async with keeping(database_url, forget=forgotten.append, retention_days=1) as keeper:
        assert await keeper.work_if_due()
        assert not await keeper.work_if_due()  # not before an hour has passed
    assert left(database_url) == {"old 0", "alone", "slow"}
    assert forgotten == [chat.company]
    with psycopg.connect(database_url) as read:
        assert read.execute("SELECT count(*) FROM chat_audit WHERE event = 'sign_out'").fetchone() == (2,)
        assert read.execute("SELECT count(*) FROM chat_sessions").fetchone() == (0,)
    # Two steps of conversations, all three by themselves, and the entries.
    assert [record.message for record in caplog.records if record.name == housekeeping.__name__].count(
        "housekeeping"
    ) == 6


async def test_one_process_at_a_time_and_another_goes_on_if_it_dies(
    database_url: str, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [old(database_url, chat, f"old {number}", touched=2) for number in range(7)]
    whole = retention.erase_due
    reached, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def held_up(connection: Connection, **given: Any) -> int:
        erased = whole(connection, **given)
        if len(told(database_url)) == 1:  # the second step
            loop.call_soon_threadsafe(reached.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return erased

    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(keeping(database_url, retention_days=1)) for _ in range(2)]
        monkeypatch.setattr(retention, "erase_due", held_up)
        dying = asyncio.create_task(first.work_if_due())
        await reached.wait()
        monkeypatch.setattr(retention, "erase_due", whole)
        assert not await second.work_if_due()
        go_on.set()
        with pytest.raises(DatabaseUnavailableError):  # it is gone: its step has no effect
            await dying
        assert len(told(database_url)) == 1
        assert not await second.work_if_due()
        execute(database_url, "UPDATE chat_jobs SET due_at = now()")  # the time of its claim is over
        outcomes = await asyncio.gather(first.work_if_due(), second.work_if_due())
        assert sorted(outcomes) == [False, True]
    assert left(database_url) == set()
    assert sorted(each for _, _, erased in told(database_url) for each in erased) == sorted(map(str, ids))
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT due_at > now() + interval '50 minutes' FROM chat_jobs").fetchone() == (True,)


async def by_a_request(url: str, _company: UUID, conversation: UUID) -> None:
    async with serving(url) as client:
        response = await client.request("DELETE", f"/api/conversations/{conversation}?erase=true")
        assert response.status == 204


async def by_a_command_that_was_killed(url: str, company: UUID, _conversation: UUID) -> None:
    """It had erased all, and not yet vacuumed."""
    database = Database(url, connections=1, heavy=0, statement_timeout_seconds=10, metrics=Metrics("0"))
    assert await Erasing(database).erase_company(company) == Erased(conversations=1)
    await asyncio.to_thread(database.close)


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("erase", [by_a_request, by_a_command_that_was_killed])
async def test_samples_of_erased_texts_are_gone_when_it_was_done(
    database_url: str, chat: Chat, monkeypatch: pytest.MonkeyPatch, others: int, erase: Any
) -> None:
    monkeypatch.setattr(erasing, "BEGIN_SECONDS", 0)
    elsewhere = Chat(chat.connection, uuid4())
    for _ in range(others):
        elsewhere.say(elsewhere.conversation("others"), "others")
    conversation = chat.conversation("xyzzy")
    for number in range(50):
        chat.say(conversation, f"xyzzy {number}")
    execute(database_url, "ANALYZE chat_messages, chat_conversations, chat_search")
    await erase(database_url, chat.company, conversation)
    assert found_everywhere(database_url, "xyzzy", samples=True) == {"pg_stats"}
    async with keeping(database_url) as keeper:
        assert await keeper.work_if_due()
    assert found_everywhere(database_url, "xyzzy", samples=True) == set()


async def test_servers_keep_house_by_themselves(database_url: str, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "LOOK_SECONDS", 0.05)
    conversation = old(database_url, chat, "old", touched=2)
    assert conversations.find(chat.connection, None, conversation) is not None
    async with serving(database_url, retention_days=1) as one, serving(database_url, retention_days=1) as two:
        for client in (one, two):
            client.app.start()
        await eventually(lambda: left(database_url) == set())
    assert len(told(database_url)) == 1


async def test_it_starts_and_stops_in_any_order(database_url: str) -> None:
    settings: Mapping[str, Any] = {}
    async with AsyncExitStack() as stack:
        database = Database(database_url, connections=2, statement_timeout_seconds=10, metrics=Metrics("0"))
        stack.callback(database.close)

        def make() -> Housekeeping:
            rules = rules_of(Settings(**settings))
            return Housekeeping(database, rules, Lifetimes(1, 1), audit_days=1, forget=lambda _: None)

        await check_start_stop(
            BackgroundService(make, Housekeeping.start, Housekeeping.close, lambda each: each.running, restarts=False)
        )
