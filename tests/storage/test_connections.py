"""What holds on every connection, whatever the server, the database, the role, the URL and libpq's variables say."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import Connection, text

from chatserver.errors import DatabaseUnavailableError
from chatserver.metrics import Metrics
from chatserver.storage.postgres import connections
from chatserver.storage.postgres.database import Database
from chatserver.storage.postgres.variables import forget_variables

MakeDatabase = Callable[[], str]

# What the code relies on, as PostgreSQL shows it.
WANTED = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
    "transaction_isolation": "read committed",
    "statement_timeout": "7s",
    "idle_in_transaction_session_timeout": "10s",
}
HOSTILE = {
    "client_encoding": "LATIN1",
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kathmandu",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
HOSTILE_VARIABLES = {
    "PGCLIENTENCODING": "LATIN1",
    "PGDATESTYLE": "German",
    "PGTZ": "Asia/Kathmandu",
    "PGOPTIONS": "-c statement_timeout=0 -c default_transaction_isolation=serializable",
}


def shown(connection: Connection) -> dict[str, str]:
    """What PostgreSQL shows of what the code relies on; and a text, to see that it comes back whole."""
    assert connection.execute(text("SELECT '…日本'::text")).scalar_one() == "…日本"
    return {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in WANTED}


@contextlib.contextmanager
def database(url: str, *, pooled: bool) -> Iterator[Database]:
    made = Database(url, connections=1, statement_timeout_seconds=7, metrics=Metrics("0"), pooled=pooled)
    try:
        yield made
    finally:
        made.close()


def alter(url: str, settings: dict[str, str]) -> None:
    name = urlsplit(url).path[1:]
    with psycopg.connect(url, autocommit=True) as connection:
        for setting, value in settings.items():
            connection.execute(f"ALTER DATABASE {name} SET {setting} TO '{value}'")


pooled_or_not = pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])


@pooled_or_not
async def test_settings_of_the_database_change_nothing(make_empty_database: MakeDatabase, pooled: bool) -> None:
    url = make_empty_database()
    alter(url, HOSTILE)
    with database(url, pooled=pooled) as made:
        assert await made.autocommit(shown) == WANTED
        assert await made.transaction(shown) == WANTED
        assert await made.autocommit(shown) == WANTED


@pooled_or_not
async def test_variables_of_libpq_change_nothing(
    make_empty_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, pooled: bool
) -> None:
    url = make_empty_database().partition("&options")[0]
    for name, value in HOSTILE_VARIABLES.items():
        monkeypatch.setenv(name, value)
    with database(url, pooled=pooled) as made:
        assert await made.autocommit(shown) == WANTED
        assert await made.transaction(shown) == WANTED


@pooled_or_not
async def test_options_of_the_url_hold_but_for_what_the_code_relies_on(
    make_empty_database: MakeDatabase, pooled: bool
) -> None:
    url = make_empty_database().partition("&options")[0]
    url += "&client_encoding=LATIN1&options=-csearch_path%3Dapp%20-cstatement_timeout%3D0%20-cDateStyle%3DGerman"

    def search_path(connection: Connection) -> str:
        return str(connection.execute(text("SHOW search_path")).scalar_one())

    with database(url, pooled=pooled) as made:
        assert await made.autocommit(shown) == WANTED
        assert await made.autocommit(search_path) == "app"


async def test_pooled_session_is_left_as_it_was(make_empty_database: MakeDatabase) -> None:
    """The pooler gives the session to another client afterwards."""
    url = make_empty_database()
    alter(url, {"DateStyle": "German"})

    def between_transactions(connection: Connection) -> tuple[str, str]:
        connection.rollback()
        raw = connection.connection.dbapi_connection
        assert isinstance(raw, psycopg.Connection)
        raw.autocommit = True
        settings = [raw.execute(f"SHOW {name}").fetchone() for name in ("statement_timeout", "DateStyle")]
        raw.autocommit = False
        return tuple(setting[0] for setting in settings if setting)  # type: ignore[return-value]

    with database(url, pooled=True) as made:
        assert await made.autocommit(shown) == WANTED
        assert await made.transaction(between_transactions) == ("0", "German, DMY")


@pooled_or_not
async def test_single_statement_is_committed_at_once(make_empty_database: MakeDatabase, pooled: bool) -> None:
    url = make_empty_database()
    with psycopg.connect(url, autocommit=True) as observer, database(url, pooled=pooled) as made:
        await made.autocommit(lambda connection: connection.execute(text("CREATE TABLE made AS SELECT 1 AS one")))
        assert observer.execute("SELECT one FROM made").fetchone() == (1,)


@pooled_or_not
async def test_endless_statement_is_ended(
    make_empty_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, pooled: bool
) -> None:
    url = make_empty_database()
    made = Database(url, connections=1, statement_timeout_seconds=0.2, metrics=Metrics("0"), pooled=pooled)
    try:
        for run in (made.autocommit, made.transaction):
            with pytest.raises(DatabaseUnavailableError):
                async with asyncio.timeout(10):
                    await run(lambda connection: connection.execute(text("SELECT pg_sleep(60)")))
    finally:
        made.close()


@pooled_or_not
async def test_idle_transaction_is_ended(
    make_empty_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, pooled: bool
) -> None:
    """As of a process that froze: its locks are free again."""
    monkeypatch.setattr(connections, "IDLE_TRANSACTION_SECONDS", 1)
    url = make_empty_database()
    with psycopg.connect(url, autocommit=True) as observer, database(url, pooled=pooled) as made:
        observer.execute("CREATE TABLE wanted ()")

        def freeze(connection: Connection) -> None:
            connection.execute(text("LOCK wanted IN ACCESS EXCLUSIVE MODE"))
            observer.execute("SET lock_timeout = '10s'")
            observer.execute("TABLE wanted")
            connection.execute(text("SELECT 1"))

        with pytest.raises(DatabaseUnavailableError):
            await made.transaction(freeze)


def test_direct_statement_takes_one_round_trip(database_url: str) -> None:
    """No setting and no transaction around it: they would double its cost."""
    engine = connections.make_engine(database_url, statement_timeout_seconds=7)
    with connections.single_statement(engine) as connection:
        connection.execute(text("SELECT 1"))
        raw = connection.connection.dbapi_connection
        assert isinstance(raw, psycopg.Connection)
        assert raw.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    engine.dispose()


def test_forgotten_variables_are_those_of_libpq_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ", "PGSSLNEGOTIATION", "PG_API_KEY"):
        monkeypatch.setenv(name, "x")
    forget_variables()
    assert [name for name in os.environ if name.startswith("PG")] == ["PG_API_KEY"]
