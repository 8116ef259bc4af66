"""Migrating a database to the schema of this code, while processes of the release before go on.

A migration is of one of two halves, which it says by its constant `half`. One that runs `before` the new code only
adds, so code of the release before goes on; one that runs `after` it takes away what only that code used. A start on a
database in use leaves out the `after` halves that no `before` half follows: they run when the operator says that no
process of the release before is left, or at the start of the next release.

The database says which code it still serves (the table `chat_schema`), so a process may start on a schema that is newer
than itself.

Most starts find a database that is migrated already. They look at its revision, and do not load alembic, which takes as
long as all of this package.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from chatserver.errors import ConfigurationError
from chatserver.storage.postgres.connections import make_engine

if TYPE_CHECKING:
    from alembic.config import Config

# Any number that no other program uses in the same database.
ADVISORY_LOCK = 0x63686174  # "chat"
# How long a migration waits for another one; and how long it tries to get its locks of tables.
LOCK_WAIT_SECONDS = 60
# How long one try waits for the lock of a table. Everybody else who needs the table waits behind it, and it ends before
# PostgreSQL looks for deadlocks, so it ends none of their transactions.
TABLE_LOCK_SECONDS = 0.25
# The pause between two tries: in it, others go on.
RETRY_SECONDS = 0.5

_IN_THE_WAY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

_SERVER = text("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')")
_HAS_REVISION = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_REVISION = text("SELECT version_num FROM alembic_version")
_KEEPS_SERVED = text("SELECT to_regclass('chat_schema') IS NOT NULL")
_SERVED = text("SELECT serves_from FROM chat_schema")
_SERVE_NOBODY = text("DELETE FROM chat_schema")
_SERVE = text("INSERT INTO chat_schema VALUES (:serves_from)")
_HALF = re.compile(r'^half = "(before|after)"$', re.MULTILINE)


class Revision(NamedTuple):
    """A migration. `half`: whether it runs `before` or `after` the code that it is for."""

    name: str
    half: str


def migrations_folder() -> Path:
    """The folder of the migrations: in the package if it is installed, beside it in a checkout.

    Found from this file, not from the current directory.
    """
    package = Path(__file__).resolve().parents[2]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "alembic"


def revisions() -> list[Revision]:
    """The revisions of the schema, the newest last. The names of the migrations' files begin with them."""
    return [_revision(path) for path in sorted((migrations_folder() / "versions").glob("*.py"))]


def _revision(path: Path) -> Revision:
    half = _HALF.search(path.read_text(encoding="utf-8"))
    assert half is not None, f"{path.name} says of which half it is"
    return Revision(path.name.partition("_")[0], half[1])


def alembic_config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def upgrade(url: str, *, pooled: bool = False, finish: bool = False) -> str | None:
    """Migrate the database at `url` (a libpq URL), all or nothing; what the operator should know of its state, or None.

    An empty database gets the newest revision, and so does any with `finish`. One in use gets the newest that runs
    before the new code: processes of the release before go on.

    Processes that start together wait for each other. Raises ConfigurationError if the database cannot be reached, is
    too old a PostgreSQL, has another encoding than UTF8, was migrated by newer code and does not serve this one, or
    refuses the change.
    """
    engine = make_engine(url, pooled=pooled)
    try:
        return _upgrade(engine, finish)
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        verb = "used" if isinstance(error.orig, psycopg.OperationalError) else "migrated"
        raise ConfigurationError(f"the database cannot be {verb}: {reason}") from error
    finally:
        engine.dispose()


def _upgrade(engine: Engine, finish: bool) -> str | None:
    known = revisions()
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            with engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
                _require_suitable(connection)
                if _target(connection, known, finish) is not None:
                    _lock(connection)
                    # Another process may have migrated it meanwhile.
                    target = _target(connection, known, finish)
                    if target is not None:
                        _migrate(connection, target)
                return _note(connection, known)
        except DBAPIError as error:
            if not isinstance(error.orig, _IN_THE_WAY) or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)


def _require_suitable(connection: Connection) -> None:
    version, encoding = connection.execute(_SERVER).one()
    if version < 150_000:
        raise ConfigurationError(f"the database is PostgreSQL {version // 10_000}; 15 or newer is needed")
    if encoding != "UTF8":
        raise ConfigurationError(f"the database has the encoding {encoding}; UTF8 is needed: create it anew with it")


def _target(connection: Connection, known: Sequence[Revision], finish: bool) -> str | None:
    """The revision that the database is to be migrated to; None: it stays as it is."""
    names = [each.name for each in known]
    revision = _revision_of(connection)
    if revision is None:
        return names[-1]
    if revision not in names:
        if not _serves(connection, names):
            raise ConfigurationError(
                f"the database was migrated by a newer chatserver (revision {revision}); install that version"
            )
        return None
    at, last = names.index(revision), len(known) - 1
    while not finish and last > at and known[last].half == "after":
        last -= 1
    return names[last] if last > at else None


def _note(connection: Connection, known: Sequence[Revision]) -> str | None:
    """What the operator should know."""
    revision = _revision_of(connection)
    if revision == known[-1].name:
        return None
    if revision in [each.name for each in known]:
        return "the database still serves the release before; when none of that runs: chatserver migrate --finish"
    return f"the database was migrated by a newer chatserver (revision {revision}), and still serves this one"


def _revision_of(connection: Connection) -> str | None:
    if not connection.execute(_HAS_REVISION).scalar_one():
        return None
    revision: str | None = connection.execute(_REVISION).scalar_one_or_none()
    return revision


def _serves(connection: Connection, names: Sequence[str]) -> bool:
    """Whether a database of newer code says that it serves this code, too, which has migrations of these names."""
    if not connection.execute(_KEEPS_SERVED).scalar_one():
        return False
    return connection.execute(_SERVED).scalar_one_or_none() in names


def record_served(connection: Connection, revision: str | None) -> None:
    """Write down which code a database of this revision serves: all that has its newest `after` half."""
    if connection.execute(_KEEPS_SERVED).scalar_one():
        taken_away = [each.name for each in revisions() if each.half == "after" and each.name <= (revision or "")]
        connection.execute(_SERVE_NOBODY)
        connection.execute(_SERVE, {"serves_from": taken_away[-1]})


def _lock(connection: Connection) -> None:
    """Keep other migrations away to the end of the transaction: a transaction pooler would lose a session's lock."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_SECONDS}s'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})


def _migrate(connection: Connection, target: str) -> None:
    from alembic import command

    connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_LOCK_SECONDS * 1_000:.0f}ms'"))
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, target)
