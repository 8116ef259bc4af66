"""Folding of words and titles; branches copy entries of the search index."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
half = "after"

LEFT_OUT = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\u0640"
)
VARIANTS = "ς\u1c80\u1c81\u1c82\u1c83\u1c84\u1c85\u1c86\u1c87\u1c88"
LETTERS = "σвдосттъѣꙋ"
IOTA_BELOW = r"\u0345\u1f80-\u1faf\u1fb2-\u1fb4\u1fb7\u1fbc\u1fc2-\u1fc4\u1fc7\u1fcc\u1ff2-\u1ff4\u1ff7\u1ffc"
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

FOLD = rf"""
DO $do$
DECLARE
    letters text := coalesce(
        (SELECT 'pg_catalog.' || quote_ident(collname) FROM pg_catalog.pg_collation
         WHERE collname IN ('pg_c_utf8', 'und-x-icu') AND collnamespace = 'pg_catalog'::regnamespace
         ORDER BY collname LIMIT 1),
        'pg_catalog."default"');
BEGIN
    EXECUTE replace($create$
CREATE FUNCTION chat_fold(content text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    folded text;
BEGIN
    IF octet_length(content) = length(content) THEN
        RETURN lower(content COLLATE "C");
    END IF;
    folded := lower(regexp_replace(normalize(content, NFKC), '[{LEFT_OUT}]+', '', 'g') COLLATE COLLATION_OF_LETTERS);
    folded := replace(translate(folded, '{VARIANTS}', '{LETTERS}'), 'ß', 'ss');
    folded := regexp_replace(folded, 'i\u0307+', 'i', 'g');
    IF folded ~ '[{IOTA_BELOW}]' THEN
        folded := replace(normalize(folded, NFD), U&'\0345', 'ι');
    END IF;
    RETURN normalize(folded, NFKC);
END
$$
$create$, 'COLLATION_OF_LETTERS', letters);
END
$do$
"""  # noqa: S608 (the ranges are constants)

WORDS = rf"""
CREATE OR REPLACE FUNCTION chat_search_words(content text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    -- Cut twice: folding makes some characters many.
    words text := left(chat_fold(left(content, 100000)), 100000);
BEGIN
    IF octet_length(words) > length(words) THEN
        words := regexp_replace(words, '[{SINGLE_CHARACTERS}]', ' \& ', 'g');
    END IF;
    RETURN to_tsvector('pg_catalog.simple', regexp_replace(words, '[{BETWEEN_WORDS}]+', ' ', 'g'));
END
$$
"""

MESSAGE = """
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

WORDS_BEFORE = rf"""
CREATE OR REPLACE FUNCTION chat_search_words(content text) RETURNS tsvector
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
"""

MESSAGE_BEFORE = """
CREATE OR REPLACE FUNCTION chat_search_message() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""


def execute(statement: str) -> None:
    """Execute SQL unchanged: a colon in it does not begin a parameter."""
    op.get_bind().exec_driver_sql(statement)


def make_entries_anew() -> None:
    """Fill the search index again.

    Without indexes it is filled several times faster. The rows go through PostgreSQL one by one, so it takes little
    memory, however many they are.
    """
    op.drop_index("ix_chat_search_vector", "chat_search")
    op.drop_index("ix_chat_search_newest", "chat_search")
    execute("TRUNCATE chat_search")
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


def upgrade() -> None:
    for statement in (FOLD, WORDS, MESSAGE):
        execute(statement)
    op.add_column(
        "chat_conversations", sa.Column("folded_title", sa.Text, sa.Computed("chat_fold(title)", persisted=True))
    )
    make_entries_anew()


def downgrade() -> None:
    for statement in (WORDS_BEFORE, MESSAGE_BEFORE):
        execute(statement)
    op.drop_column("chat_conversations", "folded_title")
    execute("DROP FUNCTION chat_fold(text)")
    make_entries_anew()
