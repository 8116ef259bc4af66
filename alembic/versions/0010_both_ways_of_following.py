"""While two releases run: who follows an answer in the way of one release does so in the way of the other, too.

Processes of the release before put down in the run's row until when they follow it; those of this one have a row of
their own in chat_followers. And the database says which code it serves.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
half = "before"

# Each of the triggers writes to the table of the other one. WHEN keeps them from answering each other.
#
# All processes of the release before count as one, whose id is all zeros.
#
# Owners renew their leases in the order of the runs' ids, and whoever ends a run removes its followers. So the second
# trigger, which has locked followers, waits for no run. What it leaves out comes a second later: processes tell of
# their readers again and again.
BOTH_WAYS = (
    """
CREATE FUNCTION chat_follow_as_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chat_followers (run_id, process, until)
    VALUES (NEW.id, '00000000-0000-0000-0000-000000000000', NEW.followed_until)
    ON CONFLICT (run_id, process) DO UPDATE SET until = excluded.until;
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER chat_follow_as_new AFTER UPDATE OF followed_until ON chat_runs
FOR EACH ROW WHEN (NEW.followed_until IS NOT NULL AND pg_trigger_depth() = 0)
EXECUTE FUNCTION chat_follow_as_new()
""",
    """
CREATE FUNCTION chat_follow_as_before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH followed AS (
        SELECT r.id, told.until FROM told JOIN chat_runs AS r ON r.id = told.run_id
        WHERE r.status || '' = 'active' ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED
    )
    UPDATE chat_runs SET followed_until = followed.until FROM followed WHERE chat_runs.id = followed.id;
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER chat_follow_as_before AFTER INSERT ON chat_followers REFERENCING NEW TABLE AS told
FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION chat_follow_as_before()
""",
    """
CREATE TRIGGER chat_follow_on_as_before AFTER UPDATE ON chat_followers REFERENCING NEW TABLE AS told
FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION chat_follow_as_before()
""",
)


def follow_both_ways() -> None:
    for statement in BOTH_WAYS:
        op.execute(statement)


def follow_one_way() -> None:
    for trigger, table in (
        ("chat_follow_as_new", "chat_runs"),
        ("chat_follow_as_before", "chat_followers"),
        ("chat_follow_on_as_before", "chat_followers"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in ("chat_follow_as_new", "chat_follow_as_before"):
        op.execute(f"DROP FUNCTION {function}()")


def upgrade() -> None:
    op.create_table(
        "chat_schema",
        sa.Column("serves_from", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("serves_from", name="pk_chat_schema"),
    )
    follow_both_ways()


def downgrade() -> None:
    follow_one_way()
    op.drop_table("chat_schema")
