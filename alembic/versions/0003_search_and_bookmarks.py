"""Search, bookmarks, and indexes of lists that leave out archived conversations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
half = "after"

Moment = sa.DateTime(timezone=True)

LISTED = [sa.text("(pinned_at IS NOT NULL)"), "updated_at", "id"]

SINGLE_CHARACTERS = (
    r"\u0e01-\u0e4e\u0e81-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3"
    r"\u2600-\u27bf\U0001f000-\U0001faff"
    r"\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3031-\u303c\u3040-\u30fa\u30fc-\u312f\u31a0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
BETWEEN_WORDS = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb-\u00bf\u00d7\u00f7"
    r"\u037e\u0387\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3\u05c6\u05f3\u05f4"
    r"\u060c\u060d\u061b-\u061f\u066a-\u066d\u06d4\u0700-\u070d"
    r"\u0964\u0965\u0970\u0df4\u0e4f\u0e5a\u0e5b\u0f04-\u0f14\u104a-\u104f"
    r"\u1361-\u1368\u1680\u17d4-\u17da\u1800-\u180e"
    r"\u2000-\u206f\u20a0-\u20cf\u2190-\u25ff\u27c0-\u2bff\u2e00-\u2e7f"
    r"\u3000-\u3004\u3008-\u3020\u3030\u303d\u30fb\ua4fe\ua4ff"
    r"\ufe00-\ufe1f\ufe30-\ufe6f\ufeff-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffff"
)

SEARCH_SCHEMA = (
    rf"""
CREATE FUNCTION chat_search_words(content text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    words text := left(content, 100000);
BEGIN
    IF octet_length(words) > length(words) THEN
        words := regexp_replace(normalize(words, NFC), '[{SINGLE_CHARACTERS}]', ' \& ', 'g');
    END IF;
    RETURN to_tsvector('pg_catalog.simple', regexp_replace(words, '[{BETWEEN_WORDS}]+', ' ', 'g'));
END
$$
""",
    """
CREATE FUNCTION chat_search_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM chat_search WHERE id = OLD.id;
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
""",
    """
CREATE FUNCTION chat_search_title() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM chat_search WHERE id = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.title IS NOT NULL THEN
        INSERT INTO chat_search (id, company_id, conversation_id, of_title, said_at, vector)
        VALUES (NEW.id, NEW.company_id, NEW.id, true, NEW.created_at,
            setweight(chat_search_words(NEW.title), 'A')
            || array_to_tsvector(ARRAY['@' || NEW.company_id]));
    END IF;
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER chat_search_message AFTER INSERT OR DELETE ON chat_messages
FOR EACH ROW EXECUTE FUNCTION chat_search_message()
""",
    """
CREATE TRIGGER chat_search_message_changed AFTER UPDATE OF content, edited_content, superseded_at ON chat_messages
FOR EACH ROW EXECUTE FUNCTION chat_search_message()
""",
    """
CREATE TRIGGER chat_search_title AFTER INSERT OR DELETE ON chat_conversations
FOR EACH ROW EXECUTE FUNCTION chat_search_title()
""",
    """
CREATE TRIGGER chat_search_title_changed AFTER UPDATE OF title ON chat_conversations
FOR EACH ROW WHEN (OLD.title IS DISTINCT FROM NEW.title) EXECUTE FUNCTION chat_search_title()
""",
)


def execute(statement: str) -> None:
    """Execute SQL unchanged: a colon in it does not begin a parameter."""
    op.get_bind().exec_driver_sql(statement)


def upgrade() -> None:
    op.drop_index("ix_chat_conversations_list", "chat_conversations")
    for name, columns, condition in (
        ("list", ["company_id"], "archived_at IS NULL"),
        ("archive", ["company_id"], "archived_at IS NOT NULL"),
        ("agent_list", ["company_id", "agent_id"], "archived_at IS NULL AND agent_id IS NOT NULL"),
        ("agent_archive", ["company_id", "agent_id"], "archived_at IS NOT NULL AND agent_id IS NOT NULL"),
    ):
        op.create_index(
            f"ix_chat_conversations_{name}",
            "chat_conversations",
            [*columns, *LISTED],
            postgresql_where=sa.text(f"deleted_at IS NULL AND {condition}"),
        )

    op.create_table(
        "chat_bookmarks",
        sa.Column("message_id", sa.Uuid),
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_chat_bookmarks")),
        sa.ForeignKeyConstraint(
            ["message_id"], ["chat_messages.id"], name=op.f("fk_chat_bookmarks_message_id"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_chat_bookmarks_list", "chat_bookmarks", ["company_id", "created_at", "message_id"])

    op.create_table(
        "chat_search",
        sa.Column("id", sa.Uuid),
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("conversation_id", sa.Uuid, nullable=False),
        sa.Column("of_title", sa.Boolean, nullable=False),
        sa.Column("said_at", Moment, nullable=False),
        sa.Column("vector", TSVECTOR, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_search")),
    )
    for statement in SEARCH_SCHEMA:
        execute(statement)
    execute(
        """
        INSERT INTO chat_search (id, company_id, conversation_id, of_title, said_at, vector)
        SELECT message.id, conversation.company_id, message.conversation_id, false, message.created_at,
            chat_search_words(coalesce(message.edited_content, message.content))
            || array_to_tsvector(ARRAY['@' || conversation.company_id])
        FROM chat_messages AS message
        JOIN chat_conversations AS conversation ON conversation.id = message.conversation_id
        WHERE message.superseded_at IS NULL
        UNION ALL
        SELECT id, company_id, id, true, created_at,
            setweight(chat_search_words(title), 'A') || array_to_tsvector(ARRAY['@' || company_id])
        FROM chat_conversations WHERE title IS NOT NULL
        """
    )
    op.create_index("ix_chat_search_newest", "chat_search", ["company_id", "said_at", "id"])
    op.create_index(
        "ix_chat_search_vector",
        "chat_search",
        ["vector"],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )


def downgrade() -> None:
    for name, table in (
        ("chat_search_title_changed", "chat_conversations"),
        ("chat_search_title", "chat_conversations"),
        ("chat_search_message_changed", "chat_messages"),
        ("chat_search_message", "chat_messages"),
    ):
        execute(f"DROP TRIGGER {name} ON {table}")
    for name in ("chat_search_title()", "chat_search_message()", "chat_search_words(text)"):
        execute(f"DROP FUNCTION {name}")
    op.drop_table("chat_search")
    op.drop_table("chat_bookmarks")
    for name in ("agent_archive", "agent_list", "archive", "list"):
        op.drop_index(f"ix_chat_conversations_{name}", "chat_conversations")
    op.create_index(
        "ix_chat_conversations_list",
        "chat_conversations",
        ["company_id", *LISTED],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
