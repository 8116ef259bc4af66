"""The tables of who may do what: tokens, the sessions of browsers, what they hold open, and the audit log."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    event,
)
from sqlalchemy.dialects.postgresql import JSONB

from chatserver.storage.tables import Moment, metadata

tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    # SHA-256 of the token, which is stored nowhere
    Column("digest", LargeBinary, nullable=False),
    # null: an administrator's
    Column("company_id", Uuid),
    # who uses it: tokens of one company with the same name are one person's
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    # null: never
    Column("expires_at", Moment),
    # to the minute
    Column("last_used_at", Moment),
    Column("revoked_at", Moment),
    CheckConstraint("role IN ('reader', 'member', 'manager')", name="role"),
    CheckConstraint("company_id IS NOT NULL OR role = 'manager'", name="administrator"),
)

Index("uq_api_tokens_digest", tokens.c.digest, unique=True)
Index("ix_api_tokens_company_id", tokens.c.company_id)

sessions = Table(
    "chat_sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    # SHA-256 of the cookie's value
    Column("digest", LargeBinary, nullable=False),
    Column("token_id", Uuid, ForeignKey("api_tokens.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Moment, nullable=False),
    # to the minute
    Column("used_at", Moment, nullable=False),
)

Index("uq_chat_sessions_digest", sessions.c.digest, unique=True)
Index("ix_chat_sessions_token_id", sessions.c.token_id)

# How many streams of a company each process has open, while `company_max_streams` is on. A process that died is not
# counted for long.
open_streams = Table(
    "chat_open_streams",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("process", Uuid, primary_key=True),
    Column("streams", Integer, nullable=False),
    Column("counted_until", Moment, nullable=False),
)

# Rows are added, and those that are too old removed; a trigger refuses all else.
audit = Table(
    "chat_audit",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", Moment, nullable=False),
    # of the event's details
    Column("version", Integer, nullable=False),
    Column("event", Text, nullable=False),
    Column("company_id", Uuid),
    # who did it; null: nobody was signed in
    Column("actor", Text),
    Column("token_id", Uuid),
    Column("address", Text),
    Column("request_id", Text),
    # ids, names and numbers; never what was said
    Column("details", JSONB, nullable=False),
)

Index("ix_chat_audit_at", audit.c.at, audit.c.id)
Index("ix_chat_audit_company_id", audit.c.company_id, audit.c.at, audit.c.id)

# Work that one process does for all: when it is due next.
jobs = Table(
    "chat_jobs",
    metadata,
    Column("name", Text, primary_key=True),
    Column("due_at", Moment, nullable=False),
)

AUDIT_SCHEMA = (
    """
CREATE OR REPLACE FUNCTION chat_audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('chatserver.audit_retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only';
END $$
""",
    "DROP TRIGGER IF EXISTS chat_audit_keep ON chat_audit",
    """
CREATE TRIGGER chat_audit_keep BEFORE UPDATE OR DELETE ON chat_audit FOR EACH ROW EXECUTE FUNCTION chat_audit_keep()
""",
    "DROP TRIGGER IF EXISTS chat_audit_keep_all ON chat_audit",
    """
CREATE TRIGGER chat_audit_keep_all BEFORE TRUNCATE ON chat_audit
FOR EACH STATEMENT EXECUTE FUNCTION chat_audit_keep()
""",
)


@event.listens_for(metadata, "after_create")
def _keep_the_audit_log(_: object, connection: Connection, **__: object) -> None:
    for statement in AUDIT_SCHEMA:
        connection.exec_driver_sql(statement)
