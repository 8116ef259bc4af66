"""Agent streaming: edits, answers with their questions, runs, agents, idempotency keys, and positions of messages."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
half = "after"

Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    for column in (
        sa.Column("parent_conversation_id", sa.Uuid),
        sa.Column("branch_from_message_id", sa.Uuid),
        sa.Column("last_position", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    ):
        op.add_column("chat_conversations", column)
    for column in (
        sa.Column("edited_content", sa.Text),
        sa.Column("edited_at", Moment),
        sa.Column("position", sa.BigInteger),
        sa.Column("reply_to", sa.Uuid),
        sa.Column("status", sa.Text, nullable=False, server_default=sa.text("'completed'")),
        sa.Column("superseded_at", Moment),
        sa.Column("input_tokens", sa.Integer),
        sa.Column("output_tokens", sa.Integer),
    ):
        op.add_column("chat_messages", column)
    op.execute(
        """
        UPDATE chat_messages SET position = numbered.position
        FROM (
            SELECT id, row_number() OVER (PARTITION BY conversation_id ORDER BY created_at, id) AS position
            FROM chat_messages
        ) AS numbered
        WHERE chat_messages.id = numbered.id
        """
    )
    op.execute(
        """
        UPDATE chat_conversations SET last_position = counted.last_position
        FROM (
            SELECT conversation_id, max(position) AS last_position FROM chat_messages GROUP BY conversation_id
        ) AS counted
        WHERE chat_conversations.id = counted.conversation_id
        """
    )
    op.alter_column("chat_messages", "position", nullable=False)
    op.create_check_constraint(op.f("ck_chat_messages_status"), "chat_messages", "status IN ('completed', 'stopped')")
    op.drop_index("ix_chat_messages_conversation_id_created_at", "chat_messages")
    op.create_index(
        "uq_chat_messages_conversation_id_position", "chat_messages", ["conversation_id", "position"], unique=True
    )

    op.create_table(
        "chat_runs",
        sa.Column("id", sa.Uuid),
        sa.Column("conversation_id", sa.Uuid, nullable=False),
        sa.Column("trigger_message_id", sa.Uuid),
        sa.Column("agent_id", sa.Uuid),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("owner", sa.Uuid, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("lease_until", Moment, nullable=False),
        sa.Column("continues", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("followed_until", Moment),
        sa.Column("stop_requested", sa.Text),
        sa.Column("answer_message_id", sa.Uuid),
        sa.Column("stop_reason", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("ended_at", Moment),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_runs")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["chat_conversations.id"],
            name=op.f("fk_chat_runs_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "status IN ('active', 'completed', 'kept', 'stopped', 'failed', 'dropped', 'superseded')",
            name=op.f("ck_chat_runs_status"),
        ),
        sa.CheckConstraint("stop_requested IN ('discard', 'keep')", name=op.f("ck_chat_runs_stop_requested")),
    )
    op.create_index(
        "uq_chat_runs_trigger",
        "chat_runs",
        ["conversation_id", "trigger_message_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("status IN ('active', 'completed', 'kept')"),
    )
    op.create_index(
        "uq_chat_runs_active",
        "chat_runs",
        ["conversation_id"],
        unique=True,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_index("ix_chat_runs_owner", "chat_runs", ["owner"], postgresql_where=sa.text("status = 'active'"))

    op.create_table(
        "chat_sent_keys",
        sa.Column("conversation_id", sa.Uuid, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("message_id", sa.Uuid, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "route", "key", name=op.f("pk_chat_sent_keys")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["chat_conversations.id"],
            name=op.f("fk_chat_sent_keys_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("route IN ('messages', 'stream')", name=op.f("ck_chat_sent_keys_route")),
    )
    op.create_index("ix_chat_sent_keys_created_at", "chat_sent_keys", ["created_at"])

    op.create_table(
        "agents",
        sa.Column("id", sa.Uuid),
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("adapter_type", sa.Text, nullable=False),
        sa.Column("adapter_config", JSONB, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default=sa.text("'active'")),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.Column("deleted_at", Moment),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.CheckConstraint("adapter_type IN ('echo', 'llm')", name=op.f("ck_agents_adapter_type")),
    )
    op.create_index(
        "ix_agents_list",
        "agents",
        ["company_id", "created_at", "id"],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("agents")
    op.drop_table("chat_sent_keys")
    op.drop_table("chat_runs")
    op.drop_index("uq_chat_messages_conversation_id_position", "chat_messages")
    op.create_index(
        "ix_chat_messages_conversation_id_created_at", "chat_messages", ["conversation_id", "created_at", "id"]
    )
    for name in (
        "edited_content",
        "edited_at",
        "position",
        "reply_to",
        "status",
        "superseded_at",
        "input_tokens",
        "output_tokens",
    ):
        op.drop_column("chat_messages", name)
    for name in ("parent_conversation_id", "branch_from_message_id", "last_position"):
        op.drop_column("chat_conversations", name)
