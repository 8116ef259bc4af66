"""Removing what PostgreSQL itself still has of erased texts: the space of deleted rows, and the planner's samples.

The planner's statistics hold samples of texts, as they were when the table was analyzed.
"""

from __future__ import annotations

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from chatserver.errors import ConfigurationError
from chatserver.storage.postgres.connections import make_engine

# All tables that hold what people wrote or are called, or point to it.
TABLES = (
    "chat_messages",
    "chat_message_revisions",
    "chat_conversations",
    "chat_search",
    "chat_runs",
    "chat_sent_keys",
    "chat_bookmarks",
    "agents",
    "api_tokens",
    "chat_sessions",
)
# PostgreSQL does not renew the samples of a table that has become empty. Since version 18 they can be removed.
_CLEARS_SAMPLES = 180_000
_VERSION = text("SELECT current_setting('server_version_num')::int")
_CLEAR = text(
    "SELECT pg_clear_attribute_stats(schemaname, tablename, attname, inherited) FROM pg_stats"
    " WHERE schemaname = current_schema() AND tablename = :table"
    " AND has_table_privilege(format('%I.%I', schemaname, tablename), 'MAINTAIN')"
)


def renew_samples(connection: Connection, table: str, *, vacuum: bool = False) -> None:
    """Have the planner take its samples of a table anew; `vacuum`: and give free the space of deleted rows.

    `table`: one of TABLES. Each statement is to be committed at once. If the role does not own the table, nothing is
    done.
    """
    connection.exec_driver_sql(f"VACUUM (ANALYZE) {table}" if vacuum else f"ANALYZE {table}")
    if connection.execute(_VERSION).scalar_one() < _CLEARS_SAMPLES:
        return
    is_empty = text(f"SELECT NOT EXISTS (SELECT FROM {table})")  # noqa: S608 (only constants are put in)
    if connection.execute(is_empty).scalar_one():
        connection.execute(_CLEAR, {"table": table})


def vacuum(url: str) -> None:
    """Vacuum all TABLES, and renew their samples. It takes as long as it takes, and nobody waits for it.

    `url` leads to the database itself, not to a pooler. Raises ConfigurationError.
    """
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            for table in TABLES:
                renew_samples(connection, table, vacuum=True)
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        raise ConfigurationError(f"all is erased, but the tables could not be vacuumed: {reason}") from error
    finally:
        engine.dispose()
