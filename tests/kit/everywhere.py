"""Looks for a word in all that a database holds."""

from __future__ import annotations

import psycopg
from psycopg import sql

_COLUMNS = """
    SELECT table_name, column_name, data_type FROM information_schema.columns c
    JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
"""
# What the planner remembers of the columns' contents.
_SAMPLES = (
    "SELECT count(*) FROM pg_stats WHERE schemaname = 'public'"
    " AND concat(most_common_vals, histogram_bounds, most_common_elems) LIKE %s"
)


def found_everywhere(url: str, word: str, *, samples: bool = False) -> set[str]:
    """The columns of all tables in which the word is, whatever their type. `samples`: the planner's statistics, too."""
    found = set()
    with psycopg.connect(url) as connection:
        columns = connection.execute(_COLUMNS).fetchall()
        assert len(columns) > 50
        for table, column, kind in columns:
            form = "encode({column}, 'escape')" if kind == "bytea" else "{column}::text"
            text = sql.SQL(form).format(column=sql.Identifier(column))
            query = sql.SQL("SELECT count(*) FROM {table} WHERE {text} LIKE %s").format(
                table=sql.Identifier(table), text=text
            )
            row = connection.execute(query, [f"%{word}%"]).fetchone()
            if row != (0,):
                found.add(f"{table}.{column}")
        if samples and connection.execute(_SAMPLES, [f"%{word}%"]).fetchone() != (0,):
            found.add("pg_stats")
    return found
