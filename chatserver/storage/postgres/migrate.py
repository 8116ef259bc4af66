"""Migrating a database to the schema of this code."""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from chatserver.errors import ConfigurationError
from chatserver.storage.postgres.connections import make_engine

# Any number that no other program uses in the same database.
ADVISORY_LOCK = 0x63686174  # "chat"
LOCK_WAIT = "60s"


def migrations_folder() -> Path:
    """The folder of the migrations: in the package if it is installed, beside it in a checkout.

    Found from this file, not from the current directory.
    """
    package = Path(__file__).resolve().parents[2]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "alembic"


def alembic_config() -> Config:
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
    scripts = ScriptDirectory.from_config(alembic_config())
    with engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
        version = connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()
        if version < 150_000:
            raise ConfigurationError(f"the database is PostgreSQL {version // 10_000}; 15 or newer is needed")
        encoding = connection.execute(text("SELECT current_setting('server_encoding')")).scalar_one()
        if encoding != "UTF8":
            raise ConfigurationError(
                f"the database has the encoding {encoding}; UTF8 is needed: create it anew with it"
            )
        if _revision(connection, scripts) == scripts.get_current_head():
            return
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
        # Held to the end of the transaction: a transaction pooler would lose a lock of the session.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: Connection, scripts: ScriptDirectory) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise ConfigurationError(
            f"the database was migrated by a newer chatserver (revision {revision}); install that version"
        )
    return revision
