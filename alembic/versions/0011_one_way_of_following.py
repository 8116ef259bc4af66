"""Nobody follows an answer by the row of its run any more."""

from types import ModuleType

import sqlalchemy as sa
from alembic import context, op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
half = "after"


def both_ways() -> ModuleType:
    """The migration that made it possible to follow both ways."""
    return context.script.get_revision(down_revision).module


def upgrade() -> None:
    both_ways().follow_one_way()
    op.drop_column("chat_runs", "followed_until")


def downgrade() -> None:
    op.add_column("chat_runs", sa.Column("followed_until", sa.DateTime(timezone=True)))
    both_ways().follow_both_ways()
