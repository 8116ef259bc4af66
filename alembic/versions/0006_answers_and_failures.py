"""Answers say which model gave them, why and when they ended, and what it thought; questions, how their answer failed.

The stop reason moves from the run to the answer, so that it is there wherever the message is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
half = "after"


def upgrade() -> None:
    for name, type_ in (
        ("model", sa.Text),
        ("stop_reason", sa.Text),
        ("duration_ms", sa.Integer),
        ("reasoning", sa.Text),
        ("reasoning_ms", sa.Integer),
    ):
        op.add_column("chat_messages", sa.Column(name, type_))
    op.execute(
        "UPDATE chat_messages AS m SET stop_reason = r.stop_reason FROM chat_runs AS r"
        " WHERE r.answer_message_id = m.id AND r.stop_reason IS NOT NULL"
    )
    op.drop_column("chat_runs", "stop_reason")
    op.create_index(
        "ix_chat_runs_past",
        "chat_runs",
        ["trigger_message_id", "started_at"],
        postgresql_where=sa.text("status IN ('stopped', 'failed', 'dropped', 'superseded')"),
    )


def downgrade() -> None:
    op.drop_index("ix_chat_runs_past", "chat_runs")
    op.add_column("chat_runs", sa.Column("stop_reason", sa.Text))
    op.execute(
        "UPDATE chat_runs AS r SET stop_reason = m.stop_reason FROM chat_messages AS m"
        " WHERE m.id = r.answer_message_id AND m.stop_reason IS NOT NULL"
    )
    for name in ("reasoning_ms", "reasoning", "duration_ms", "stop_reason", "model"):
        op.drop_column("chat_messages", name)
