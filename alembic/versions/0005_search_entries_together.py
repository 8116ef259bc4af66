"""The messages of a statement get their search entries together, and the index takes these a few dozen at a time.

No statement looks for the runs of an owner: that index goes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
half = "after"

ADDED = """
CREATE FUNCTION chat_search_messages_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('chatserver.copies_entries', true) IS DISTINCT FROM 'on' THEN
        INSERT INTO chat_search (id, company_id, conversation_id, of_title, said_at, vector)
        SELECT added.id, company_id, added.conversation_id, false, added.created_at,
            chat_search_words(coalesce(added.edited_content, added.content))
            || array_to_tsvector(ARRAY['@' || company_id])
        FROM added CROSS JOIN LATERAL (
            SELECT company_id FROM chat_conversations WHERE id = added.conversation_id OFFSET 0
        ) AS conversation
        WHERE added.superseded_at IS NULL;
    END IF;
    RETURN NULL;
END
$$
"""

MESSAGE = """
CREATE OR REPLACE FUNCTION chat_search_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM chat_search WHERE id = OLD.id;
    IF TG_OP <> 'DELETE' AND NEW.superseded_at IS NULL THEN
        INSERT INTO chat_search (id, company_id, conversation_id, of_title, said_at, vector)
        SELECT NEW.id, company_id, NEW.conversation_id, false, NEW.created_at,
            chat_search_words(coalesce(NEW.edited_content, NEW.content))
            || array_to_tsvector(ARRAY['@' || company_id])
        FROM chat_conversations WHERE id = NEW.conversation_id;
    END IF;
    RETURN NULL;
END
$$
"""

MESSAGE_BEFORE = """
CREATE OR REPLACE FUNCTION chat_search_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM chat_search WHERE id = OLD.id;
    ELSIF current_setting('chatserver.copies_entries', true) = 'on' THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.superseded_at IS NULL THEN
        INSERT INTO chat_search (id, company_id, conversation_id, of_title, said_at, vector)
        SELECT NEW.id, company_id, NEW.conversation_id, false, NEW.created_at,
            chat_search_words(coalesce(NEW.edited_content, NEW.content))
            || array_to_tsvector(ARRAY['@' || company_id])
        FROM chat_conversations WHERE id = NEW.conversation_id;
    END IF;
    RETURN NULL;
END
$$
"""


def execute(statement: str) -> None:
    """Execute SQL unchanged: a colon in it does not begin a parameter."""
    op.get_bind().exec_driver_sql(statement)


def upgrade() -> None:
    execute("DROP TRIGGER chat_search_message ON chat_messages")
    execute(MESSAGE)
    execute(ADDED)
    execute(
        """
        CREATE TRIGGER chat_search_message AFTER DELETE ON chat_messages
        FOR EACH ROW EXECUTE FUNCTION chat_search_message()
        """
    )
    execute(
        """
        CREATE TRIGGER chat_search_messages_added AFTER INSERT ON chat_messages REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION chat_search_messages_added()
        """
    )
    execute("ALTER INDEX ix_chat_search_vector SET (fastupdate = on, gin_pending_list_limit = 64)")
    op.drop_index("ix_chat_runs_owner", "chat_runs")


def downgrade() -> None:
    op.create_index("ix_chat_runs_owner", "chat_runs", ["owner"], postgresql_where=sa.text("status = 'active'"))
    execute("ALTER INDEX ix_chat_search_vector SET (fastupdate = off)")
    execute("ALTER INDEX ix_chat_search_vector RESET (gin_pending_list_limit)")
    execute("DROP TRIGGER chat_search_messages_added ON chat_messages")
    execute("DROP FUNCTION chat_search_messages_added()")
    execute("DROP TRIGGER chat_search_message ON chat_messages")
    execute(MESSAGE_BEFORE)
    execute(
        """
        CREATE TRIGGER chat_search_message AFTER INSERT OR DELETE ON chat_messages
        FOR EACH ROW EXECUTE FUNCTION chat_search_message()
        """
    )
