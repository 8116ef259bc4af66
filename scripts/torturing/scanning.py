"""What is in the database at the end: runs, rows that should be gone, and where each marker word is."""

from __future__ import annotations

from collections import defaultdict

import psycopg
from psycopg import sql

from scripts.torturing import markers
from scripts.torturing.history import Run

# Tables that are empty when nothing is being generated, where they exist.
TRANSIENT = ("chat_frames", "chat_followers", "chat_queue")
# Of these types no text is made: they are of a fixed size.
TEXTLESS = ("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "uuid", "timestamptz", "timestamp", "date")


def transient_rows(connection: psycopg.Connection) -> dict[str, int]:
    """How many rows each transient table has, and how many runs are active. Empty tables are left out."""
    counts = {}
    tables = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    for table in TRANSIENT:
        if table in tables:
            counts[table] = _number(connection, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
    counts["active runs"] = _number(connection, sql.SQL("SELECT count(*) FROM chat_runs WHERE status = 'active'"))
    return {name: count for name, count in counts.items() if count}


def _number(connection: psycopg.Connection, query: sql.SQL | sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def runs(connection: psycopg.Connection) -> list[Run]:
    found = connection.execute(
        "SELECT id::text, conversation_id::text, trigger_message_id::text, status, epoch FROM chat_runs"
    )
    return [Run(*row) for row in found]


def places_of_markers(connection: psycopg.Connection) -> dict[str, set[str]]:
    """For each marker word that is anywhere in the database, the columns that hold it, as `table.column`."""
    places: dict[str, set[str]] = defaultdict(set)
    columns = connection.execute(
        """
        SELECT table_name, column_name, udt_name FROM information_schema.columns JOIN pg_tables
        ON tablename = table_name AND schemaname = table_schema
        WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
        """
    ).fetchall()
    for table, column, kind in columns:
        if kind in TEXTLESS:
            continue
        name = sql.Identifier(column)
        value = sql.SQL("encode({}, 'escape')" if kind == "bytea" else "{}::text").format(name)
        query = sql.SQL("SELECT {} FROM {} WHERE {} IS NOT NULL").format(value, sql.Identifier(table), name)
        for (text,) in connection.execute(query):
            for marker in markers.found_in(text.lower()):
                places[marker].add(f"{table}.{column}")
    return dict(places)
