"""New entries of the search index are put into it a few dozen at a time."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER INDEX ix_chat_search_vector SET (fastupdate = on, gin_pending_list_limit = 64)")


def downgrade() -> None:
    op.execute("ALTER INDEX ix_chat_search_vector SET (fastupdate = off)")
    op.execute("ALTER INDEX ix_chat_search_vector RESET (gin_pending_list_limit)")
