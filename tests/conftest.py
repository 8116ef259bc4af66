"""What all tests share: a PostgreSQL for the session with a fresh database per test, and the groups with needs."""

from __future__ import annotations

import logging
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import settings

from chatserver.storage.postgres.embedded import EmbeddedPostgres
from tests.needs import GROUPS

# How long a single example takes says something about the machine's other work only.
settings.register_profile("chatserver", deadline=None)
settings.load_profile("chatserver")

# Under nohup it is ignored, and the servers that tests start would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

TEMPLATE = "chat_template"
ADVISORY_LOCK = 1
# Markers of tests that run in a process without others: they measure time, or leave a loop running in their thread, as
# the browser's driver does.
ALONE = ("serial", "browser")
PARALLEL = "parallel"

DatabaseMaker = Callable[[], AbstractContextManager[str]]


def with_database(url: str, name: str) -> str:
    """`url` with another database's name."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """The libpq URL of an empty database on a real PostgreSQL; all of pytest-xdist's workers share one server."""
    base = tmp_path_factory.getbasetemp()
    server = EmbeddedPostgres((base if worker_id == "master" else base.parent) / "database")
    url = server.start()
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):  # tests need no durability
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")
    yield url
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> str:
    """The name of a database with the newest schema, to be copied only."""
    from chatserver.storage.postgres.migrate import upgrade

    unfinished = f"{TEMPLATE}_unfinished"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])  # until the connection is closed
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [TEMPLATE]).fetchone() is None:
            connection.execute(f"DROP DATABASE IF EXISTS {unfinished}")
            connection.execute(f"CREATE DATABASE {unfinished}")
            upgrade(with_database(postgres_url, unfinished))
            connection.execute(f"ALTER DATABASE {unfinished} RENAME TO {TEMPLATE}")
    return TEMPLATE


@pytest.fixture(scope="session")
def make_database(postgres_url: str, migrated_template: str) -> DatabaseMaker:
    """`with make_database() as url:` is a fresh migrated database."""

    @contextmanager
    def make() -> Generator[str]:
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
        try:
            yield with_database(postgres_url, name)
        finally:
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    return make


@pytest.fixture
def database_url(make_database: DatabaseMaker) -> Iterator[str]:
    """The libpq URL of a fresh migrated database for this test."""
    with make_database() as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(make_database: DatabaseMaker) -> Iterator[str]:
    """The libpq URL of a fresh migrated database that the tests of a module share."""
    with make_database() as url:
        yield url


@pytest.fixture
def make_empty_database(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Creates databases without tables, which are dropped after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(f"empty_{uuid.uuid4().hex}")
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {made[-1]}")
        return with_database(postgres_url, made[-1])

    yield make
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


# --- groups of tests that need what Python's wheels do not bring -------------------------------------------------


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """What a test changes in the set-up of logging ends with the test."""
    root, ours = logging.getLogger(), logging.getLogger("chatserver")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    logging.captureWarnings(False)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="fail where a test would be left out")
    parser.addoption("--part", choices=[PARALLEL, *ALONE], help="only the tests with that marker, or without any such")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--part")
    if wanted is not None:
        parts = [next((part for part in ALONE if item.get_closest_marker(part)), PARALLEL) for item in items]
        config.hook.pytest_deselected(items=[item for item, part in zip(items, parts, strict=True) if part != wanted])
        items[:] = [item for item, part in zip(items, parts, strict=True) if part == wanted]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for group, missing in GROUPS.items():
        if item.get_closest_marker(group) and (lack := missing()) is not None:
            pytest.skip(f"group {group}: {lack}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("--all"):
        report.outcome = "failed"
        report.longrepr = f"left out, which --all forbids: {call.excinfo.value if call.excinfo else 'skipped'}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = dict.fromkeys(GROUPS, 0)
    for report in terminalreporter.stats.get("skipped", []):
        for group in GROUPS:
            left_out[group] += f"group {group}: " in str(report.longrepr)
    for group, count in left_out.items():
        if count:
            terminalreporter.write_line(
                f"left out: {count} tests of the group {group} ({GROUPS[group]()})", yellow=True
            )
