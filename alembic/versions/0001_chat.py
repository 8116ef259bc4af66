"""Conversations and their messages, with soft delete, archive and pin."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
half = "after"

Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "chat_conversations",
        sa.Column("id", sa.Uuid),
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("agent_id", sa.Uuid),
        sa.Column("pinned_at", Moment),
        sa.Column("archived_at", Moment),
        sa.Column("deleted_at", Moment),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_conversations")),
    )
    op.create_index(
        "ix_chat_conversations_list",
        "chat_conversations",
        ["company_id", sa.text("(pinned_at IS NOT NULL)"), "updated_at", "id"],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "chat_messages",
        sa.Column("id", sa.Uuid),
        sa.Column("conversation_id", sa.Uuid, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Uuid),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_messages")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["chat_conversations.id"],
            name=op.f("fk_chat_messages_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("role IN ('user', 'assistant', 'system')", name=op.f("ck_chat_messages_role")),
    )
    op.create_index(
        "ix_chat_messages_conversation_id_created_at", "chat_messages", ["conversation_id", "created_at", "id"]
    )


def downgrade() -> None:
    op.drop_table("chat_messages")
    op.drop_table("chat_conversations")
