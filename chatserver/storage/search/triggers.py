"""Functions and triggers, as SQL, that keep `chat_search` in step with messages and titles.

The database runs them, so no statement that changes a message or a title can forget it.
"""

from __future__ import annotations

from chatserver.storage.search.words import BETWEEN_WORDS, INDEXED_CHARS, SINGLE_CHARACTERS

SCOPE_MARK = "@"
"""The first character of the lexeme of the company, which every vector has. No word has this character."""

COPIES = "chatserver.copies_entries"
"""A setting of PostgreSQL. While it is 'on' in a transaction, new messages get no entries: the transaction copies those
of other messages, which costs less than to make them anew."""

_WORDS = rf"""
CREATE FUNCTION chat_search_words(content text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    -- Cut twice: folding makes some characters many.
    words text := left(chat_fold(left(content, {INDEXED_CHARS})), {INDEXED_CHARS});
BEGIN
    IF octet_length(words) > length(words) THEN
        words := regexp_replace(words, '[{SINGLE_CHARACTERS}]', ' \& ', 'g');
    END IF;
    RETURN to_tsvector('pg_catalog.simple', regexp_replace(words, '[{BETWEEN_WORDS}]+', ' ', 'g'));
END
$$
"""

# All messages that a statement adds at once: a batch costs less than its messages one by one.
_MESSAGES_ADDED = f"""
CREATE FUNCTION chat_search_messages_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('{COPIES}', true) IS DISTINCT FROM 'on' THEN
        INSERT INTO chat_search (id, company_id, conversation_id, of_title, said_at, vector)
        SELECT added.id, company_id, added.conversation_id, false, added.created_at,
            chat_search_words(coalesce(added.edited_content, added.content))
            || array_to_tsvector(ARRAY['{SCOPE_MARK}' || company_id])
        FROM added CROSS JOIN LATERAL (
            SELECT company_id FROM chat_conversations WHERE id = added.conversation_id OFFSET 0
        ) AS conversation
        WHERE added.superseded_at IS NULL;
    END IF;
    RETURN NULL;
END
$$
"""  # noqa: S608 (the mark is a constant)

_MESSAGE = f"""
CREATE FUNCTION chat_search_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM chat_search WHERE id = OLD.id;
    IF TG_OP <> 'DELETE' AND NEW.superseded_at IS NULL THEN
        INSERT INTO chat_search (id, company_id, conversation_id, of_title, said_at, vector)
        SELECT NEW.id, company_id, NEW.conversation_id, false, NEW.created_at,
            chat_search_words(coalesce(NEW.edited_content, NEW.content))
            || array_to_tsvector(ARRAY['{SCOPE_MARK}' || company_id])
        FROM chat_conversations WHERE id = NEW.conversation_id;
    END IF;
    RETURN NULL;
END
$$
"""  # noqa: S608 (the mark is a constant)

_TITLE = f"""
CREATE FUNCTION chat_search_title() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM chat_search WHERE id = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.title IS NOT NULL THEN
        INSERT INTO chat_search (id, company_id, conversation_id, of_title, said_at, vector)
        VALUES (NEW.id, NEW.company_id, NEW.id, true, NEW.created_at,
            setweight(chat_search_words(NEW.title), 'A')
            || array_to_tsvector(ARRAY['{SCOPE_MARK}' || NEW.company_id]));
    END IF;
    RETURN NULL;
END
$$
"""  # noqa: S608 (the mark is a constant)

SEARCH_SCHEMA = (
    _WORDS,
    _MESSAGES_ADDED,
    _MESSAGE,
    _TITLE,
    """
CREATE TRIGGER chat_search_messages_added AFTER INSERT ON chat_messages REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION chat_search_messages_added()
""",
    """
CREATE TRIGGER chat_search_message AFTER DELETE ON chat_messages
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
    # Every new message updates its conversation, but rarely the title.
    """
CREATE TRIGGER chat_search_title_changed AFTER UPDATE OF title ON chat_conversations
FOR EACH ROW WHEN (OLD.title IS DISTINCT FROM NEW.title) EXECUTE FUNCTION chat_search_title()
""",
)
"""The statements in their order, to be run after the tables were created."""
