"""What was superseded together, and where it stood; all wordings of a message; indexes of a conversation's runs,
and of all agents, removed ones included.

Which messages an older version superseded together is found out when one of them is to be restored, conversation by
conversation. The present wording of an edited message becomes its first revision: those between it and the original are
gone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
half = "after"


def upgrade() -> None:
    op.add_column("chat_messages", sa.Column("superseded_after", sa.BigInteger))
    op.add_column("chat_messages", sa.Column("wording", sa.Uuid))
    op.add_column("chat_runs", sa.Column("trigger_wording", sa.Uuid))
    op.create_table(
        "chat_message_revisions",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("message_id", sa.Uuid, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chat_message_revisions"),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["chat_messages.id"],
            name="fk_chat_message_revisions_message_id",
            ondelete="CASCADE",
        ),
    )
    op.execute(
        """
        UPDATE chat_messages SET wording = gen_random_uuid() WHERE edited_content IS NOT NULL
        """
    )
    op.execute(
        """
        INSERT INTO chat_message_revisions (id, message_id, content, edited_at)
        SELECT wording, id, edited_content, coalesce(edited_at, created_at) FROM chat_messages WHERE wording IS NOT NULL
        """
    )
    op.execute(
        """
        UPDATE chat_runs AS run SET trigger_wording = question.wording
        FROM chat_messages AS question
        WHERE question.id = run.trigger_message_id AND question.wording IS NOT NULL
            AND run.started_at >= question.edited_at
        """
    )
    op.create_index("ix_chat_message_revisions_message_id", "chat_message_revisions", ["message_id"])
    op.create_index("ix_chat_runs_conversation_id", "chat_runs", ["conversation_id"])
    # Agents that were removed are listed, too, if asked for.
    op.drop_index("ix_agents_list", "agents")
    op.create_index("ix_agents_list", "agents", ["company_id", "created_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_agents_list", "agents")
    op.create_index(
        "ix_agents_list", "agents", ["company_id", "created_at", "id"], postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.drop_index("ix_chat_runs_conversation_id", "chat_runs")
    op.drop_table("chat_message_revisions")
    op.drop_column("chat_runs", "trigger_wording")
    op.drop_column("chat_messages", "wording")
    op.drop_column("chat_messages", "superseded_after")
