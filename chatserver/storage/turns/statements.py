"""The turn in a few statements, each for many turns at once: add a message, claim its answer (or both), commit it.

They are for the common case. Items that are not surely of that case are left out and change nothing; the functions in
`storage/` for a single message or run are for them. Four rules make that safe under READ COMMITTED:

1. A statement waits for no row, with one exception under 4: it leaves out what others have locked. So it deadlocks with
   nobody, and one slow transaction does not hold up a batch.
2. It locks conversations first, as everything does. The claims of one conversation, its new messages, its commits,
   rewinds and its deletion come one after another.
3. What was locked is looked at in its newest version, everything else as it was when the statement began. So a claim,
   which depends on messages, leaves out a conversation that changed in between: its row has another `ctid` then.
   Whatever changes messages changes the row of their conversation, too.
4. Runs and idempotency keys are not part of that row. If there is one in between, a unique index finds it, and the item
   is left out. Whoever adds one has locked the conversation before, so nobody waits for that here. But whoever deletes
   expired keys has not: an insert of the very same key waits for the end of that transaction. They do not deadlock,
   since each transaction adds its keys before it deletes any.

They are written in SQL and go to the driver directly, since they run for every message: SQLAlchemy would take several
times as long as the driver. No two items of a batch may be of one conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

SESSION_SETTINGS = {
    # All rows are found by an index, also while the tables are still so small that reading them whole seems cheaper: a
    # plan is kept until the tables are analyzed again, and they grow meanwhile. Without bitmaps, because these read all
    # messages of a conversation for its newest one.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    # Planning one of these statements costs as much as carrying it out.
    "plan_cache_mode": "force_generic_plan",
}
"""For the sessions that run these statements, and nothing else."""

FOR_EACH_ROW = "OFFSET 0"
"""Ends a subquery that PostgreSQL shall carry out for each row, by an index.

Else it may make a join or a table in memory of it, and read all messages or all active runs. No setting prevents that.
"""

IN_SCOPE = "(asked.companies IS NULL OR c.company_id = ANY (asked.companies::uuid[]))"
# As `conversations.moved`.
COUNTED = "last_position = last_position + 1, updated_at = greatest(clock_timestamp(), updated_at + interval '1 ms')"

# Whether the message of a row of `locked` names its conversation.
NAMES_IT = f"""
untitled AND NOT EXISTS (
    SELECT FROM chat_messages AS earlier
    WHERE earlier.conversation_id = locked.conversation_id AND earlier.role = 'user'
    {FOR_EACH_ROW}
)
"""

MOVED = f"""
named AS (
    -- Apart from the others: a statement that sets the title runs the triggers of titles.
    UPDATE chat_conversations AS c SET {COUNTED}, title = nullif(first_line, '')
    FROM said WHERE c.id = conversation_id AND names_it
    RETURNING c.id, c.last_position, c.updated_at
), counted AS (
    UPDATE chat_conversations AS c SET {COUNTED}
    FROM said WHERE c.id = conversation_id AND NOT names_it
    RETURNING c.id, c.last_position, c.updated_at
), moved AS (
    SELECT * FROM named UNION ALL SELECT * FROM counted
)
"""  # noqa: S608 (only constants are put in)
"""Gives new messages their positions and times, and a conversation its name if it has none.

`said` has the messages: `conversation_id first_line names_it`. `moved` then has their conversations: `id last_position
updated_at`, of which the last two are for the messages.
"""


def execute(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> Sequence[Any]:
    """The rows of a statement, which has the driver's placeholders. Raises the errors of SQLAlchemy."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        return driver.cursor(row_factory=namedtuple_row).execute(statement, parameters).fetchall()
    except psycopg.Error as error:
        lost = driver.closed
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=lost
        ) from error


def array(values: Iterable[UUID | int | str | None]) -> str:
    """An array as PostgreSQL reads it, of values without special characters.

    Whatever the values are, the driver sees one type: so it prepares one statement, not one for each mixture.
    """
    return f"{{{','.join('NULL' if value is None else str(value) for value in values)}}}"


def arrays(values: Iterable[Sequence[UUID] | None]) -> str:
    """An array of arrays of different lengths, as texts."""
    return array(None if value is None else f'"{array(value)}"' for value in values)
