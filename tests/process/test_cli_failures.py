"""A start that fails, as an operator sees it: one line, exit status 2, and nothing harmed."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.conftest import with_database

ROOT = Path(__file__).resolve().parents[2]
# Above all that a start may wait for a database that does not answer.
SECONDS = 60

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Runs a command that must fail and returns its one line."""

    def run(*argv: str, prefix: Sequence[str] = (), **environment: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CHATSERVER_")}
        result = subprocess.run(
            [*prefix, sys.executable, "-m", "chatserver", *argv],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert result.returncode == 2, result
        assert result.stdout == ""
        assert re.fullmatch(r"chatserver: [^\n]+\n", result.stderr), result.stderr
        return result.stderr.removeprefix("chatserver: ").rstrip("\n")

    return run


# --- settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("port = = 1", "is not valid TOML"),
        ("prot = 1", "prot: no such setting"),
        ('port = "eighty"', "port: should be a valid integer"),
        ('[providers.main]\nkind = "openai"', "providers.main.base_url: is needed"),
    ],
)
def test_bad_file_is_refused(refused: Refused, tmp_path: Path, text: str, reason: str) -> None:
    config = tmp_path / "chatserver.toml"
    config.write_text(text)
    line = refused("serve", "--config", str(config), "--data-dir", "data")
    assert line.startswith(f"{config}: {reason}")
    assert not (tmp_path / "data").exists()


def test_missing_file_is_refused(refused: Refused) -> None:
    assert refused("serve", "--config", "none.toml") == "none.toml: cannot be read: No such file or directory"


def test_bad_variable_is_refused(refused: Refused) -> None:
    assert refused("serve", CHATSERVER_PORT="eighty").startswith("CHATSERVER_PORT: ")
    assert refused("serve", CHATSERVER_PROT="80") == "CHATSERVER_PROT: no such setting"


def test_bad_option_is_refused(refused: Refused) -> None:
    assert refused("serve", "--prot", "80").startswith("unrecognized arguments: --prot 80")
    assert refused("serve", "--host", "192.0.2.1").startswith("--host: should be a loopback address")


# --- the data directory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve --port 0", "migrate", "agent list"])
def test_data_directory_that_cannot_be_made_is_refused(refused: Refused, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("precious")
    line = refused(*command.split(), "--data-dir", "file/data")
    assert str(tmp_path / "file") in line
    assert (tmp_path / "file").read_text() == "precious"


def test_unwritable_data_directory_is_refused(refused: Refused, tmp_path: Path) -> None:
    # root may write anywhere, but not in a user namespace in which it is somebody else
    somebody = ["unshare", "--user", "--map-user=1001", "--map-group=1001"] if os.geteuid() == 0 else []
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert str(folder) in refused("serve", "--port", "0", "--data-dir", str(folder), prefix=somebody)
    assert list(folder.iterdir()) == []


# --- the port ----------------------------------------------------------------------------------------------


def test_port_in_use_is_refused(refused: Refused, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        line = refused("serve", "--port", port, "--data-dir", "data")
    assert port in line
    assert "in use" in line
    assert not (tmp_path / "data").exists()


# --- the database ------------------------------------------------------------------------------------------


@contextmanager
def peer(answer: bytes | None) -> Iterator[int]:
    """A port where everyone who connects gets `answer`, and then silence; None: nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                if answer is not None:
                    connection.recv(1_000)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


def test_database_where_nothing_listens_is_refused(refused: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    line = refused("serve", "--port", "0", "--database-url", f"postgresql://chat:hunter2@127.0.0.1:{port}/chat")
    assert "refused" in line
    assert "hunter2" not in line


def test_silent_database_is_refused(refused: Refused) -> None:
    with peer(None) as port:
        line = refused("serve", "--port", "0", "--database-url", f"postgresql://chat:hunter2@127.0.0.1:{port}/chat")
    assert "timeout" in line
    assert "hunter2" not in line


def test_server_that_is_no_database_is_refused(refused: Refused) -> None:
    with peer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "database" in refused("migrate", "--database-url", f"postgresql://chat@127.0.0.1:{port}/chat")


def test_missing_database_is_refused(refused: Refused, database_url: str) -> None:
    assert "does not exist" in refused("migrate", "--database-url", database_url.replace("?", "_not?"))


@pytest.mark.parametrize("command", ["serve --port 0", "migrate", "agent list"])
def test_database_of_a_newer_version_is_refused(refused: Refused, database_url: str, command: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
        connection.execute("UPDATE chat_schema SET serves_from = 'from_the_future'")
        assert "newer" in refused(*command.split(), "--database-url", database_url)
        row = connection.execute("SELECT version_num, to_regclass('chat_messages') FROM alembic_version").fetchone()
    assert row == ("from_the_future", "chat_messages")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_database_of_another_encoding_is_refused(refused: Refused, postgres_url: str, encoding: str) -> None:
    name = f"encoding_{encoding.lower()}_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'"
        )
        try:
            line = refused("serve", "--port", "0", "--database-url", with_database(postgres_url, name))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert encoding in line
    assert "UTF8" in line


# --- agents ------------------------------------------------------------------------------------------------


def test_agent_of_an_unknown_provider_is_refused(refused: Refused, database_url: str) -> None:
    argv = ["agent", "create", "--name", "A", "--adapter", "llm", "--provider", "main", "--database-url", database_url]
    assert refused(*argv) == "adapterConfig.provider: is not a configured provider"


def test_doctor_refuses_an_address_that_is_no_url(refused: Refused) -> None:
    assert refused("doctor", "chat.example.org").startswith("the URL should begin with http://")
