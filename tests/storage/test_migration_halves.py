"""Migrations before and after the new code: what runs when, what each may do, and which code the database serves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic import command
from sqlalchemy import Connection, text

from chatserver.errors import ConfigurationError
from chatserver.storage import frames, leases
from chatserver.storage.postgres import migrate
from chatserver.storage.postgres.connections import make_engine
from chatserver.storage.postgres.migrate import Revision, revisions, upgrade
from tests.kit.release_before import REVISION as RELEASE_BEFORE
from tests.kit.waiting import eventually_blocking
from tests.storage.conftest import Chat
from tests.storage.migrating import COLUMNS, CONSTRAINTS, INDEXES, QUERIES, alembic, revision_of, schema

MakeDatabase = Callable[[], str]
Schema = dict[str, set[tuple[str, ...]]]

# The newest migrations that run before and after this release.
BEFORE, AFTER = "0010", "0011"
UNFINISHED = "the database still serves the release before; when none of that runs: chatserver migrate --finish"


@pytest.fixture
def served_before(make_empty_database: MakeDatabase) -> str:
    """The URL of a database that the release before has used."""
    url = make_empty_database()
    alembic(command.upgrade, url, RELEASE_BEFORE)
    return url


# --- what each half may do --------------------------------------------------------------------------------


def disturbs(before: Schema, after: Schema) -> list[tuple[str, ...]]:
    """What in a changed schema keeps code of the schema before from working as it did."""
    tables = {row[0] for row in before[COLUMNS]}
    gone = [row for query in QUERIES for row in before[query] - after[query]]
    # What old code inserts into a table that it knows must still be taken.
    columns = [row for row in after[COLUMNS] - before[COLUMNS] if row[3] == "NO" and row[4] == "None"]
    unique = [row for row in after[INDEXES] - before[INDEXES] if "UNIQUE" in row[2]]
    constraints = after[CONSTRAINTS] - before[CONSTRAINTS]
    return gone + [row for row in (*columns, *unique, *constraints) if row[0] in tables]


def test_what_runs_before_the_new_code_only_adds_and_what_runs_after_takes_away(
    make_empty_database: MakeDatabase,
) -> None:
    url = make_empty_database()
    alembic(command.upgrade, url, RELEASE_BEFORE)
    for name, half in revisions():
        if name > RELEASE_BEFORE:
            before = schema(url)
            alembic(command.upgrade, url, name)
            assert (disturbs(before, schema(url)) == []) is (half == "before"), name


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE chat_sent_keys",
        "ALTER TABLE chat_runs DROP COLUMN followed_until",
        "ALTER TABLE chat_runs RENAME COLUMN followed_until TO until",
        "ALTER TABLE chat_runs ALTER COLUMN error_message TYPE varchar",
        "ALTER TABLE chat_runs ADD COLUMN extra text NOT NULL",
        "ALTER TABLE chat_runs ADD CHECK (epoch < 3)",
        "ALTER TABLE chat_runs DROP CONSTRAINT ck_chat_runs_status",
        "CREATE UNIQUE INDEX ON chat_runs (owner)",
        "DROP INDEX ix_chat_runs_past",
        "DROP TRIGGER chat_search_message ON chat_messages",
    ],
)
def test_change_that_disturbs_old_code_is_found(served_before: str, change: str) -> None:
    before = schema(served_before)
    with psycopg.connect(served_before) as connection:
        connection.execute(change.encode())
    assert disturbs(before, schema(served_before))


# --- what runs when ---------------------------------------------------------------------------------------


def test_database_in_use_gets_the_second_half_when_it_is_finished(served_before: str) -> None:
    assert upgrade(served_before) == UNFINISHED
    assert revision_of(served_before) == BEFORE
    first = schema(served_before)
    assert upgrade(served_before) == UNFINISHED
    assert (revision_of(served_before), schema(served_before)) == (BEFORE, first)
    for finish in (True, True, False):  # once is enough, and it stays
        assert upgrade(served_before, finish=finish) is None
        assert revision_of(served_before) == AFTER


def test_new_database_gets_both_halves_at_once(make_empty_database: MakeDatabase) -> None:
    url = make_empty_database()
    assert upgrade(url) is None
    assert revision_of(url) == revisions()[-1].name


def test_finishing_works_without_a_start_in_between(served_before: str) -> None:
    assert upgrade(served_before, finish=True) is None
    assert revision_of(served_before) == AFTER


def test_next_release_runs_what_was_left(served_before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(served_before)
    # In the next release other migrations follow, of which the first runs before its code.
    chain = [Revision(each.name, "before" if each.name == AFTER else each.half) for each in revisions()]
    monkeypatch.setattr(migrate, "revisions", lambda: chain)
    assert upgrade(served_before) is None
    assert revision_of(served_before) == AFTER


def test_finishing_holds_nobody_up_who_uses_a_table_that_another_reads_for_long(served_before: str) -> None:
    upgrade(served_before)
    finishing = threading.Thread(target=upgrade, args=[served_before], kwargs={"finish": True})
    waits = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'chat_runs'::regclass AND NOT granted"
    with (
        psycopg.connect(served_before) as reader,
        psycopg.connect(served_before, autocommit=True) as other,
        psycopg.connect(served_before, autocommit=True) as watcher,
    ):
        reader.execute("SELECT FROM chat_runs")
        other.execute("SET statement_timeout = '5s'")
        finishing.start()
        for _ in range(2):
            eventually_blocking(lambda: watcher.execute(waits).fetchone() == (True,))
            other.execute("UPDATE chat_runs SET epoch = epoch")
        assert revision_of(served_before) == BEFORE
        reader.rollback()
        finishing.join()
    assert revision_of(served_before) == AFTER


# --- which code the database serves -----------------------------------------------------------------------


def knows(monkeypatch: pytest.MonkeyPatch, newest: str) -> None:
    """From now on this is code whose newest migration is `newest`."""
    known = [each for each in revisions() if each.name <= newest]
    monkeypatch.setattr(migrate, "revisions", lambda: known)


@pytest.mark.parametrize("newest", [RELEASE_BEFORE, "0009"])
def test_older_code_starts_until_the_second_half_has_run(
    served_before: str, monkeypatch: pytest.MonkeyPatch, newest: str
) -> None:
    upgrade(served_before)
    with monkeypatch.context() as older:
        knows(older, newest)
        before = schema(served_before)
        for finish in (False, True):
            note = upgrade(served_before, finish=finish)
            assert (
                note
                == f"the database was migrated by a newer chatserver (revision {BEFORE}), and still serves this one"
            )
        assert (revision_of(served_before), schema(served_before)) == (BEFORE, before)
    upgrade(served_before, finish=True)
    knows(monkeypatch, newest)
    with pytest.raises(ConfigurationError, match=f"newer chatserver .revision {AFTER}.; install that version"):
        upgrade(served_before)
    assert revision_of(served_before) == AFTER


def test_code_that_is_too_old_is_refused_at_once(served_before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(served_before)
    knows(monkeypatch, "0007")
    with pytest.raises(ConfigurationError, match="newer chatserver"):
        upgrade(served_before)


def test_code_is_refused_where_the_database_does_not_say_whom_it_serves(make_empty_database: MakeDatabase) -> None:
    for statement in ("DROP TABLE chat_schema", "DELETE FROM chat_schema"):
        url = make_empty_database()
        upgrade(url)
        with psycopg.connect(url) as connection:
            connection.execute(statement.encode())
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        before = schema(url)
        with pytest.raises(ConfigurationError, match="newer chatserver .revision 9999"):
            upgrade(url)
        assert (schema(url), revision_of(url)) == (before, "9999")


def test_going_back_by_hand_serves_the_release_before_again(
    served_before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(served_before, finish=True)
    alembic(command.downgrade, served_before, BEFORE)
    knows(monkeypatch, RELEASE_BEFORE)
    assert upgrade(served_before) is not None


# --- between the halves: readers of both releases ---------------------------------------------------------


@pytest.fixture
def connection(served_before: str) -> Iterator[Connection]:
    """A connection in autocommit to a database between the halves."""
    upgrade(served_before)
    engine = make_engine(served_before, statement_timeout_seconds=5)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def begin(connection: Connection) -> Callable[[], UUID]:
    """Begins a run; its id."""
    chat = Chat(connection, uuid4())
    return lambda: chat.run(chat.conversation(), "active")


def follow_as_before(connection: Connection, run_id: UUID) -> None:
    """As a process of the release before tells that it has readers."""
    connection.execute(
        text("UPDATE chat_runs SET followed_until = now() + interval '3 seconds' WHERE id = :run"), {"run": run_id}
    )


def followed_as_before(connection: Connection) -> set[UUID]:
    """The runs that an owner of the release before takes for followed."""
    return set(connection.execute(text("SELECT id FROM chat_runs WHERE followed_until > now()")).scalars())


def owner_of(connection: Connection, run_id: UUID) -> UUID:
    owner: UUID = connection.execute(text("SELECT owner FROM chat_runs WHERE id = :run"), {"run": run_id}).scalar_one()
    return owner


def followed(connection: Connection, run_id: UUID) -> bool:
    """Whether an owner of this release takes the run for followed."""
    (row,) = leases.renew(connection, [run_id], owner_of(connection, run_id), 10)
    return bool(row.followed)


def test_owner_of_this_release_sees_readers_at_the_release_before(
    connection: Connection, begin: Callable[[], UUID]
) -> None:
    run_id, other = begin(), begin()
    for _ in range(2):
        follow_as_before(connection, run_id)
        assert followed(connection, run_id)
        assert not followed(connection, other)
    assert followed_as_before(connection) == {run_id}
    # The release before ends runs in this way, too.
    connection.execute(text("UPDATE chat_runs SET status = 'stopped' WHERE id = :run"), {"run": run_id})
    assert connection.execute(text("SELECT count(*) FROM chat_followers")).scalar_one() == 0


def test_owner_of_the_release_before_sees_readers_at_this_one(
    connection: Connection, begin: Callable[[], UUID]
) -> None:
    some, other, process = [begin() for _ in range(3)], begin(), uuid4()
    frames.follow(connection, process, some)
    assert followed_as_before(connection) == set(some)
    connection.execute(text("UPDATE chat_runs SET followed_until = NULL"))
    frames.follow(connection, process, some)  # again, as each second
    assert followed_as_before(connection) == set(some)
    assert not followed(connection, other)
    # They count as themselves alone.
    frames.unfollow(connection, process, some)
    assert not any(followed(connection, run_id) for run_id in some)


def test_readers_are_told_of_without_waiting_for_runs_that_others_have_locked(
    connection: Connection, begin: Callable[[], UUID], served_before: str
) -> None:
    locked, free, process = begin(), begin(), uuid4()
    with psycopg.connect(served_before) as owner:
        owner.execute("SELECT FROM chat_runs WHERE id = %s FOR NO KEY UPDATE", [locked])
        frames.follow(connection, process, [locked, free])
        assert followed_as_before(connection) == {free}
        owner.rollback()
    frames.follow(connection, process, [locked, free])
    assert followed_as_before(connection) == {locked, free}


def test_nothing_of_it_is_left_after_the_second_half(
    connection: Connection, begin: Callable[[], UUID], served_before: str
) -> None:
    run_id = begin()
    upgrade(served_before, finish=True)
    frames.follow(connection, uuid4(), [run_id])
    assert followed(connection, run_id)
    with pytest.raises(Exception, match="followed_until"):
        follow_as_before(connection, run_id)
