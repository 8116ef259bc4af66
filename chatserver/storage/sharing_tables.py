"""What processes tell each other about answers in the making: frames, who follows, and who waits for a turn.

All of it is worth nothing once the answers have ended, and can be written again by the processes that live. So it is
unlogged: it costs no disk writes, and is empty after a crash of PostgreSQL and on a standby that was promoted.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Connection, Index, Integer, Table, Text, Uuid, event, text

from chatserver.storage.tables import Moment, metadata

_UNLOGGED = ["UNLOGGED"]

# Events of active runs, for readers at other processes. A row has `events` of them, up to and with number `seq` of the
# epoch; numbers begin with 1. There is no foreign key, which would lock the run's row for each of them.
frames = Table(
    "chat_frames",
    metadata,
    Column("run_id", Uuid, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("events", Integer, nullable=False),
    Column("body", Text, nullable=False),
    prefixes=_UNLOGGED,
)

# The processes that have readers of a run which another process generates.
followers = Table(
    "chat_followers",
    metadata,
    Column("run_id", Uuid, primary_key=True),
    Column("process", Uuid, primary_key=True),
    Column("until", Moment, nullable=False),
    prefixes=_UNLOGGED,
)

# The answers that wait for others of their conversation, of all processes.
waiting = Table(
    "chat_queue",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("conversation_id", Uuid, nullable=False),
    # whose turn comes first: it is given out under the row lock of the conversation
    Column("place", BigInteger, nullable=False),
    Column("trigger_message_id", Uuid),
    Column("process", Uuid, nullable=False),
    # it waits because it interrupted another answer
    Column("interrupts", Boolean, nullable=False, server_default=text("false")),
    # another process asks that it ends as stopped
    Column("stopped", Boolean, nullable=False, server_default=text("false")),
    # from then on it has lost its place: its process died
    Column("until", Moment, nullable=False),
    prefixes=_UNLOGGED,
)

Index("ix_chat_queue_place", waiting.c.conversation_id, waiting.c.place)

RUN_SCHEMA = (
    # Whoever ends a run, or begins it anew, in whatever way: its frames go in the same transaction, and the first that
    # waits for a turn is told.
    """
CREATE FUNCTION chat_run_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM chat_frames WHERE run_id = OLD.id;
    IF TG_OP = 'DELETE' OR NEW.status <> 'active' THEN
        DELETE FROM chat_followers WHERE run_id = OLD.id;
        PERFORM pg_notify('chatserver_' || replace(process::text, '-', ''), 'turn ' || conversation_id)
        FROM (
            SELECT process, conversation_id FROM chat_queue
            WHERE conversation_id = OLD.conversation_id AND until > clock_timestamp()
            ORDER BY place FETCH FIRST 1 ROW WITH TIES
        ) AS next;
    END IF;
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER chat_run_over AFTER UPDATE OF status, epoch ON chat_runs
FOR EACH ROW WHEN (OLD.status = 'active' AND (NEW.status <> 'active' OR NEW.epoch <> OLD.epoch))
EXECUTE FUNCTION chat_run_over()
""",
    """
CREATE TRIGGER chat_run_deleted AFTER DELETE ON chat_runs
FOR EACH ROW WHEN (OLD.status = 'active') EXECUTE FUNCTION chat_run_over()
""",
)
"""The statements in their order, to be run after the tables were created."""


@event.listens_for(metadata, "after_create")
def _create_triggers(_: object, connection: Connection, **__: object) -> None:
    for statement in RUN_SCHEMA:
        connection.exec_driver_sql(statement)
