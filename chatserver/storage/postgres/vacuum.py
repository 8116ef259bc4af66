"""Vacuuming tables of which much was erased: the space of deleted rows is given free, and so overwritten by others."""

from __future__ import annotations

import psycopg
from psycopg import sql

from chatserver.errors import ConfigurationError

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


def vacuum(url: str) -> None:
    """Vacuum the tables, and gather the planner's statistics anew, which hold samples of their texts.

    `url` leads to the database itself, not to a pooler. It takes as long as it takes, and nobody waits for it. Of a
    table that the role does not own nothing is done. Raises ConfigurationError.
    """
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET statement_timeout = 0")
            for table in TABLES:
                connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
    except psycopg.Error as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"all is erased, but the tables could not be vacuumed: {reason}") from error
