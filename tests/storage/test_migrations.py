"""The migrations create the schema of the code, from any earlier revision."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from chatserver.errors import ConfigurationError
from chatserver.storage import access_tables, sharing_tables  # noqa: F401 (their tables are in the metadata)
from chatserver.storage.postgres.connections import make_engine
from chatserver.storage.postgres.migrate import Revision, alembic_config, revisions, upgrade
from chatserver.storage.tables import metadata
from tests.storage.migrating import QUERIES, alembic, revision_of, schema

ROOT = Path(__file__).parents[2]

MakeDatabase = Callable[[], str]


def test_migrations_create_the_tables_of_the_code(make_empty_database: MakeDatabase) -> None:
    migrated, created = make_empty_database(), make_empty_database()
    upgrade(migrated)
    engine = make_engine(created)
    with engine.begin() as connection:
        metadata.create_all(connection)
    engine.dispose()
    for made, meant in zip(schema(migrated).values(), schema(created).values(), strict=True):
        assert made == meant
    engine = make_engine(migrated)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_revisions_are_those_that_alembic_finds() -> None:
    """A start reads them from the names of the files, to do without alembic."""
    scripts = ScriptDirectory.from_config(alembic_config())
    found = [Revision(script.revision, script.module.half) for script in scripts.walk_revisions()][::-1]
    assert revisions() == found
    assert [found[-1].name] == scripts.get_heads()


def test_each_revision_can_be_downgraded_and_upgraded_again(make_empty_database: MakeDatabase) -> None:
    url = make_empty_database()
    upgrade(url)
    newest = schema(url)
    alembic(command.downgrade, url, "base")
    assert schema(url) == {query: set() for query in QUERIES}
    upgrade(url)
    assert schema(url) == newest


def test_old_messages_get_positions_in_their_order(make_empty_database: MakeDatabase) -> None:
    url = make_empty_database()
    alembic(command.upgrade, url, "0001")
    conversation, empty, company = uuid4(), uuid4(), uuid4()
    with psycopg.connect(url) as connection:
        for each in (conversation, empty):
            connection.execute(
                "INSERT INTO chat_conversations (id, company_id, created_at, updated_at) VALUES (%s, %s, now(), now())",
                [each, company],
            )
        for minutes in (3, 1, 2):  # not in the order of their times
            connection.execute(
                "INSERT INTO chat_messages (id, conversation_id, role, content, created_at)"
                " VALUES (%s, %s, 'user', %s, now() + %s * interval '1 minute')",
                [uuid4(), conversation, str(minutes), minutes],
            )
    upgrade(url)
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT content, position FROM chat_messages ORDER BY position").fetchall()
        assert rows == [("1", 1), ("2", 2), ("3", 3)]
        rows = connection.execute("SELECT id, last_position FROM chat_conversations").fetchall()
        assert set(rows) == {(conversation, 3), (empty, 0)}


def test_old_messages_and_titles_can_be_searched(make_empty_database: MakeDatabase) -> None:
    url = make_empty_database()
    alembic(command.upgrade, url, "0002")
    conversation, company = uuid4(), uuid4()
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO chat_conversations (id, company_id, title, created_at, updated_at)"
            " VALUES (%s, %s, 'named', now(), now())",
            [conversation, company],
        )
        for position, edited, superseded in ((1, "edited", False), (2, None, True)):
            connection.execute(
                "INSERT INTO chat_messages"
                " (id, conversation_id, role, content, edited_content, created_at, position, superseded_at)"
                " VALUES (%s, %s, 'user', 'said', %s, now(), %s, CASE WHEN %s THEN now() END)",
                [uuid4(), conversation, edited, position, superseded],
            )
    upgrade(url)
    entries = "SELECT company_id, conversation_id, of_title, vector FROM chat_search ORDER BY of_title"
    with psycopg.connect(url) as connection:
        migrated = connection.execute(entries).fetchall()
        connection.execute("UPDATE chat_messages SET content = content")
        connection.execute("UPDATE chat_conversations SET title = 'other'")
        connection.execute("UPDATE chat_conversations SET title = 'named'")
        assert connection.execute(entries).fetchall() == migrated
    scope = f"'@{company}'"
    assert migrated == [
        (company, conversation, False, f"{scope} 'edited':1"),
        (company, conversation, True, f"{scope} 'named':1A"),
    ]


def test_old_answers_keep_the_reason_why_they_ended(make_empty_database: MakeDatabase) -> None:
    """Superseded ones and kept parts, too; a run without an answer has none to keep."""
    url, conversation = make_empty_database(), uuid4()
    alembic(command.upgrade, url, "0005")
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO chat_conversations (id, company_id, created_at, updated_at) VALUES (%s, %s, now(), now())",
            [conversation, uuid4()],
        )
        for position, status, reason in (
            (1, "completed", "length"),
            (2, "superseded", "stop"),
            (3, "kept", "stopped"),
            (4, "completed", None),
            (None, "failed", None),
        ):
            answer = uuid4()
            if position is not None:
                connection.execute(
                    "INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position)"
                    " VALUES (%s, %s, 'assistant', 'So.', now(), %s)",
                    [answer, conversation, position],
                )
            connection.execute(
                "INSERT INTO chat_runs (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until,"
                " started_at, answer_message_id, stop_reason)"
                " VALUES (%s, %s, %s, %s, %s, 1, now(), now(), %s, %s)",
                [uuid4(), conversation, uuid4(), status, uuid4(), position and answer, reason],
            )
    upgrade(url)
    with psycopg.connect(url) as connection:
        columns = "position, stop_reason, model, duration_ms, reasoning, reasoning_ms"
        migrated = connection.execute(f"SELECT {columns} FROM chat_messages ORDER BY position").fetchall()
        entries = connection.execute("SELECT count(*) FROM chat_search").fetchone()
    assert migrated == [
        (1, "length", None, None, None, None),
        (2, "stop", None, None, None, None),
        (3, "stopped", None, None, None, None),
        (4, None, None, None, None, None),
    ]
    assert entries == (4,)
    alembic(command.downgrade, url, "0005")
    with psycopg.connect(url) as connection:
        reasons = connection.execute("SELECT status, stop_reason FROM chat_runs").fetchall()
    assert sorted(reasons, key=str) == [
        ("completed", "length"),
        ("completed", None),
        ("failed", None),
        ("kept", "stopped"),
        ("superseded", "stop"),
    ]


@pytest.mark.parametrize("revision", ["0002", "0003"])
def test_old_texts_are_found_by_their_folded_words(make_empty_database: MakeDatabase, revision: str) -> None:
    """An old database has the same entries in the end as a new one with the same texts."""
    texts = ["Do\u00adnaudampf", "ΟΔΥΣΣΕΥΣ", "ﾃｽﾄ oﬃce", "plain Words"]
    conversation, company, ids = uuid4(), uuid4(), [uuid4() for _ in texts]
    entries = "SELECT * FROM chat_search ORDER BY id"

    def add(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO chat_conversations (id, company_id, title, created_at, updated_at)"
                " VALUES (%s, %s, 'ＡＰＩ', '2026-01-01', '2026-01-01')",
                [conversation, company],
            )
            for position, content in enumerate(texts, 1):
                connection.execute(
                    "INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position)"
                    " VALUES (%s, %s, 'user', %s, '2026-01-01', %s)",
                    [ids[position - 1], conversation, content, position],
                )

    old, new = make_empty_database(), make_empty_database()
    alembic(command.upgrade, old, revision)
    add(old)
    upgrade(old)
    upgrade(new)
    add(new)
    with psycopg.connect(old) as of_old, psycopg.connect(new) as of_new:
        migrated = of_old.execute(entries).fetchall()
        assert migrated == of_new.execute(entries).fetchall()
        titles = "SELECT title, folded_title FROM chat_conversations"
        assert of_old.execute(titles).fetchall() == of_new.execute(titles).fetchall() == [("ＡＰＩ", "api")]
    lexemes = {word.partition(":")[0].strip("'") for row in migrated for word in row[-1].split()}
    words = {"donaudampf", "οδυσσευσ", "テ", "ス", "ト", "office", "plain", "words", "api"}
    assert lexemes == words | {f"@{company}"}


def test_old_edits_become_revisions_and_old_runs_name_what_they_answered(make_empty_database: MakeDatabase) -> None:
    url = make_empty_database()
    alembic(command.upgrade, url, "0006")
    conversation, edited, plain = uuid4(), uuid4(), uuid4()
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO chat_conversations (id, company_id, created_at, updated_at) VALUES (%s, %s, now(), now())",
            [conversation, uuid4()],
        )
        for position, message, content in ((1, edited, "second"), (2, plain, None)):
            connection.execute(
                "INSERT INTO chat_messages"
                " (id, conversation_id, role, content, edited_content, edited_at, created_at, position)"
                " VALUES (%s, %s, 'user', 'first', %s, '2026-01-02', '2026-01-01', %s)",
                [message, conversation, content, position],
            )
        for message, day in ((edited, 1), (edited, 3), (plain, 3)):
            connection.execute(
                "INSERT INTO chat_runs (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until,"
                " started_at) VALUES (%(id)s, %(in)s, %(of)s, 'failed', %(id)s, 1, now(), %(at)s)",
                {"id": uuid4(), "in": conversation, "of": message, "at": f"2026-01-0{day}"},
            )
    upgrade(url)
    with psycopg.connect(url) as connection:
        revisions = connection.execute(
            "SELECT message_id, r.content, r.edited_at = m.edited_at, r.id = m.wording"
            " FROM chat_message_revisions AS r JOIN chat_messages AS m ON m.id = message_id"
        ).fetchall()
        assert revisions == [(edited, "second", True, True)]
        answered = connection.execute(
            "SELECT trigger_message_id, extract(day FROM started_at)::int, trigger_wording IS NOT NULL FROM chat_runs"
        ).fetchall()
        assert set(answered) == {(edited, 1, False), (edited, 3, True), (plain, 3, False)}


def test_dump_with_folded_titles_is_restored(make_empty_database: MakeDatabase) -> None:
    """While a dump is restored, the search path is empty: the function that folds titles must not need it."""
    url = make_empty_database()
    upgrade(url)
    with psycopg.connect(url) as connection:
        connection.execute("SET search_path = ''")
        connection.execute(
            "INSERT INTO public.chat_conversations (id, company_id, created_at, updated_at)"
            " VALUES (%s, %s, now(), now())",
            [uuid4(), uuid4()],
        )
        for title in ("Größe", "ᾼ", "plain"):
            connection.execute("SELECT public.chat_fold(%s)", [title])


def test_concurrent_processes_migrate_once(make_empty_database: MakeDatabase) -> None:
    url = make_empty_database()
    program = "import sys; from chatserver.storage.postgres.migrate import upgrade; upgrade(sys.argv[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, url], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")
    assert revision_of(url) == revisions()[-1].name


def test_unreachable_database_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        upgrade(f"postgresql://chat:secret@/postgres?host={tmp_path}")
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message
