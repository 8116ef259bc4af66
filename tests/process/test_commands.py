"""The commands beside `serve`, as processes: migrate, agent, doctor, --version."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.kit.command import SECONDS, Chatserver, environment

PROVIDERS = '{"main": {"kind": "echo"}}'


def test_migrate_makes_the_schema_and_may_be_repeated(
    chatserver: Chatserver, postgres_url: str, tmp_path: Path
) -> None:
    name = f"test_migrate_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        url = postgres_url.replace("/postgres?", f"/{name}?")
        try:
            for _ in range(2):
                assert chatserver("migrate", "--database-url", url) == "the database is up to date\n"
            with psycopg.connect(url) as migrated:
                assert migrated.execute("SELECT count(*) FROM chat_messages").fetchone() == (0,)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_agents_are_created_and_listed(chatserver: Chatserver, database_url: str) -> None:
    def agent(*argv: str) -> str:
        return chatserver("agent", *argv, "--database-url", database_url, CHATSERVER_PROVIDERS=PROVIDERS)

    echo = agent("create", "--name", "Écho\none", "--adapter", "echo").split()[-1]
    llm_options = ["--model", "m", "--system-prompt", "Be brief.", "--temperature", "0.5", "--max-tokens", "9"]
    llm = agent("create", "--name", "Main", "--adapter", "llm", "--provider", "main", *llm_options).split()[-1]
    elsewhere = "00000000-0000-4000-8000-000000000002"
    other = agent("create", "--name", "Other", "--adapter", "echo", "--company", elsewhere).split()[-1]

    assert agent("list").splitlines() == [f"{echo}  echo  Écho\\none", f"{llm}  llm (main)  Main"]
    assert agent("list", "--company", elsewhere).splitlines() == [f"{other}  echo  Other"]
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT adapter_config FROM agents WHERE id = %s", [llm]).fetchone()
    assert row == ({"provider": "main", "model": "m", "systemPrompt": "Be brief.", "temperature": 0.5, "maxTokens": 9},)


def test_agent_list_goes_beyond_a_page(chatserver: Chatserver, database_url: str) -> None:
    first = chatserver("agent", "create", "--name", "A", "--adapter", "echo", "--database-url", database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO agents SELECT (jsonb_populate_record(a, jsonb_build_object('id', gen_random_uuid()))).* "
            "FROM agents a, generate_series(1, 150)"
        )
    ids = {line.split()[0] for line in chatserver("agent", "list", "--database-url", database_url).splitlines()}
    assert len(ids) == 151
    assert first.split()[-1] in ids


def test_commands_use_the_embedded_database(chatserver: Chatserver) -> None:
    made = chatserver("agent", "create", "--name", "A", "--adapter", "echo", "--data-dir", "data").split()[-1]
    assert chatserver("agent", "list", "--data-dir", "data").startswith(made)


def test_version_is_printed(chatserver: Chatserver) -> None:
    name, version = chatserver("--version").split()
    assert name == "chatserver"
    assert version


# --- doctor ------------------------------------------------------------------------------------------------


@pytest.fixture
def server_url(database_url: str, tmp_path: Path) -> Iterator[str]:
    """Where a server with quick pings is reached."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chatserver", "serve", "--port", "0", "--database-url", database_url],
        cwd=tmp_path,
        env=environment(CHATSERVER_PING_SECONDS="0.2", CHATSERVER_DRAIN_SECONDS="0"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], SECONDS)[0]
        line = process.stdout.readline()
        assert line.startswith("chatserver ready at http://127.0.0.1:")
        yield line.split()[-1]
        process.terminate()
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.communicate()


def test_doctor_passes_a_healthy_server_and_leaves_nothing(
    chatserver: Chatserver, server_url: str, database_url: str
) -> None:
    report = chatserver("doctor", server_url)
    assert [line[:5].strip() for line in report.splitlines()] == ["ok"] * 7, report
    with psycopg.connect(database_url) as connection:
        left = "SELECT count(*) FROM chat_conversations WHERE deleted_at IS NULL"
        assert connection.execute(left).fetchone() == (0,)
        active = "SELECT count(*) FROM chat_runs WHERE status = 'active'"
        assert connection.execute(active).fetchone() == (0,)
    assert chatserver("agent", "list", "--database-url", database_url) == ""
