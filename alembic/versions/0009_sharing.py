"""What processes tell each other of answers in the making: frames, who follows, who waits, who shall make way."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
half = "before"

MOMENT = sa.DateTime(timezone=True)
UNLOGGED = ["UNLOGGED"]

RUN_OVER = (
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


def upgrade() -> None:
    op.create_table(
        "chat_frames",
        sa.Column("run_id", sa.Uuid, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "epoch", "seq", name="pk_chat_frames"),
        prefixes=UNLOGGED,
    )
    op.create_table(
        "chat_followers",
        sa.Column("run_id", sa.Uuid, nullable=False),
        sa.Column("process", sa.Uuid, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "process", name="pk_chat_followers"),
        prefixes=UNLOGGED,
    )
    op.create_table(
        "chat_queue",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("conversation_id", sa.Uuid, nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("trigger_message_id", sa.Uuid),
        sa.Column("process", sa.Uuid, nullable=False),
        sa.Column("interrupts", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("stopped", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chat_queue"),
        prefixes=UNLOGGED,
    )
    op.create_index("ix_chat_queue_place", "chat_queue", ["conversation_id", "place"])
    op.add_column("chat_runs", sa.Column("asked_to_yield", sa.Boolean, nullable=False, server_default=sa.text("false")))
    for statement in RUN_OVER:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER chat_run_deleted ON chat_runs")
    op.execute("DROP TRIGGER chat_run_over ON chat_runs")
    op.execute("DROP FUNCTION chat_run_over()")
    op.drop_column("chat_runs", "asked_to_yield")
    op.drop_table("chat_queue")
    op.drop_table("chat_followers")
    op.drop_table("chat_frames")
