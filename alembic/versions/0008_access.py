"""Who may do what: tokens, sessions, who wrote a message, on whose behalf an answer goes on, and the audit log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
half = "after"

MOMENT = sa.DateTime(timezone=True)

AUDIT = (
    """
CREATE OR REPLACE FUNCTION chat_audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('chatserver.audit_retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only';
END $$
""",
    """
CREATE TRIGGER chat_audit_keep BEFORE UPDATE OR DELETE ON chat_audit FOR EACH ROW EXECUTE FUNCTION chat_audit_keep()
""",
    """
CREATE TRIGGER chat_audit_keep_all BEFORE TRUNCATE ON chat_audit
FOR EACH STATEMENT EXECUTE FUNCTION chat_audit_keep()
""",
)


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("company_id", sa.Uuid),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("last_used_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
        sa.CheckConstraint("role IN ('reader', 'member', 'manager')", name="role"),
        sa.CheckConstraint("company_id IS NOT NULL OR role = 'manager'", name="administrator"),
    )
    op.create_index("uq_api_tokens_digest", "api_tokens", ["digest"], unique=True)
    op.create_index("ix_api_tokens_company_id", "api_tokens", ["company_id"])
    op.create_table(
        "chat_sessions",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("token_id", sa.Uuid, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chat_sessions"),
        sa.ForeignKeyConstraint(["token_id"], ["api_tokens.id"], name="fk_chat_sessions_token_id", ondelete="CASCADE"),
    )
    op.create_index("uq_chat_sessions_digest", "chat_sessions", ["digest"], unique=True)
    op.create_index("ix_chat_sessions_token_id", "chat_sessions", ["token_id"])
    op.create_table(
        "chat_open_streams",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("process", sa.Uuid, nullable=False),
        sa.Column("streams", sa.Integer, nullable=False),
        sa.Column("counted_until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("company_id", "process", name="pk_chat_open_streams"),
    )
    op.create_table(
        "chat_audit",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("company_id", sa.Uuid),
        sa.Column("actor", sa.Text),
        sa.Column("token_id", sa.Uuid),
        sa.Column("address", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("details", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chat_audit"),
    )
    op.create_index("ix_chat_audit_at", "chat_audit", ["at", "id"])
    op.create_index("ix_chat_audit_company_id", "chat_audit", ["company_id", "at", "id"])
    for statement in AUDIT:
        op.execute(statement)
    op.create_table(
        "chat_jobs",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_chat_jobs"),
    )
    op.add_column("chat_messages", sa.Column("author", sa.Text))
    op.create_index(
        "ix_chat_messages_author",
        "chat_messages",
        ["author", "id"],
        postgresql_where=sa.text("author IS NOT NULL"),
    )
    op.add_column("chat_runs", sa.Column("continues_for", ARRAY(sa.Uuid)))
    op.add_column("chat_runs", sa.Column("company_id", sa.Uuid))
    op.create_index(
        "ix_chat_runs_company_id",
        "chat_runs",
        ["company_id"],
        postgresql_where=sa.text("company_id IS NOT NULL AND status || '' = 'active'"),
    )


def downgrade() -> None:
    op.drop_index("ix_chat_runs_company_id", "chat_runs")
    op.drop_column("chat_runs", "company_id")
    op.drop_column("chat_runs", "continues_for")
    op.drop_index("ix_chat_messages_author", "chat_messages")
    op.drop_column("chat_messages", "author")
    op.drop_table("chat_jobs")
    op.drop_table("chat_audit")
    op.execute("DROP FUNCTION chat_audit_keep()")
    op.drop_table("chat_open_streams")
    op.drop_table("chat_sessions")
    op.drop_table("api_tokens")
