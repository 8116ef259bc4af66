"""The schema of a database, as PostgreSQL's catalogs have it, and single migrations."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from alembic.config import Config

from chatserver.storage.postgres.connections import make_engine
from chatserver.storage.postgres.migrate import alembic_config

COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public'
"""
# The definitions hold predicates, expressions and NULLS NOT DISTINCT, which alembic does not compare.
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
# without NOT NULL, which COLUMNS has: some versions of PostgreSQL have constraints for it, with names of their own
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
"""
FUNCTIONS = """
    SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
TRIGGERS = "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
QUERIES = (COLUMNS, INDEXES, CONSTRAINTS, FUNCTIONS, TRIGGERS)


def schema(url: str) -> dict[str, set[tuple[str, ...]]]:
    with psycopg.connect(url) as connection:
        return {
            query: {tuple(map(str, row)) for row in connection.execute(query).fetchall() if row[0] != "alembic_version"}
            for query in QUERIES
        }


def alembic(run: Callable[[Config, str], None], url: str, revision: str) -> None:
    """Run `command.upgrade` or `command.downgrade` to a revision."""
    engine = make_engine(url)
    with engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        run(config, revision)
    engine.dispose()


def revision_of(url: str) -> str | None:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
