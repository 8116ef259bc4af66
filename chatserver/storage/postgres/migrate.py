"""Migrating a database to the schema of this code.

Most starts find a database that is migrated already. They look at its revision, and do not load alembic, which takes as
long as all of this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from chatserver.errors import ConfigurationError
from chatserver.storage.postgres.connections import make_engine

if TYPE_CHECKING:
    from alembic.config import Config

# Any number that no other program uses in the same database.
ADVISORY_LOCK = 0x63686174  # "chat"
LOCK_WAIT = "60s"

_STATE = text(
    "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
    " to_regclass('alembic_version') IS NOT NULL"
)
_REVISION = text("SELECT version_num FROM alembic_version")


def migrations_folder() -> Path:
    """The folder of the migrations: in the package if it is installed, beside it in a checkout.

    Found from this file, not from the current directory.
    """
    package = Path(__file__).resolve().parents[2]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "alembic"


def revisions() -> list[str]:
    """The revisions of the schema, the newest last. The names of the migrations' files begin with them."""
    return sorted(path.name.partition("_")[0] for path in (migrations_folder() / "versions").glob("*.py"))


def alembic_config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def upgrade(url: str, *, pooled: bool = False) -> None:
    """Migrate the database at `url` (a libpq URL) to the newest revision, all or nothing.

    Processes that start together wait for each other. Raises ConfigurationError if the database cannot be reached, is
    too old a PostgreSQL, has another encoding than UTF8, was migrated by newer code, or refuses the change.
    """
    engine = make_engine(url, pooled=pooled)
    try:
        _upgrade(engine)
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        verb = "used" if isinstance(error.orig, psycopg.OperationalError) else "migrated"
        raise ConfigurationError(f"the database cannot be {verb}: {reason}") from error
    finally:
        engine.dispose()


def _upgrade(engine: Engine) -> None:
    with engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
        version, encoding, has_revision = connection.execute(_STATE).one()
        if version < 150_000:
            raise ConfigurationError(f"the database is PostgreSQL {version // 10_000}; 15 or newer is needed")
        if encoding != "UTF8":
            raise ConfigurationError(
                f"the database has the encoding {encoding}; UTF8 is needed: create it anew with it"
            )
        known = revisions()
        revision = connection.execute(_REVISION).scalar_one_or_none() if has_revision else None
        if revision is not None and revision not in known:
            raise ConfigurationError(
                f"the database was migrated by a newer chatserver (revision {revision}); install that version"
            )
        if revision != known[-1]:
            _migrate(connection)


def _migrate(connection: Connection) -> None:
    from alembic import command

    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
    # Held to the end of the transaction: a transaction pooler would lose a lock of the session.
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
