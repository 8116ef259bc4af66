"""The command line: the settings and options that it passes on, and its failures."""

from __future__ import annotations

import logging
import os
import pty
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chatserver import cli, logs
from chatserver.errors import ConfigurationError, DatabaseUnavailableError, Problem, ValidationError
from chatserver.services.provider_choice import list_providers
from chatserver.settings import Settings

UUID = "00000000-0000-4000-8000-000000000001"

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _process_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(("CHATSERVER_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    root, ours = logging.getLogger(), logging.getLogger("chatserver")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    logging.captureWarnings(False)


class Served:
    """Stands in for `chatserver.server`, whose tests run real processes: keeps the arguments of its call."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.options: dict[str, Any] = {}
        self.behave: Callable[[], int] = lambda: 0

    def serve(self, settings: Settings, **options: Any) -> int:
        self.settings, self.options = settings, options
        return self.behave()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Served:
    served = Served()
    module = ModuleType("chatserver.server")
    module.serve = served.serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chatserver.server", module)
    return served


def failure(capsys: Captured, *argv: str, status: int = 2) -> str:
    """The one line that a failing command prints."""
    assert cli.main(argv) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"chatserver: [^\n]+\n", captured.err), captured.err
    return captured.err.removeprefix("chatserver: ").rstrip("\n")


# --- serve -------------------------------------------------------------------------------------------------


def test_serve_passes_settings_and_options(server: Served, tmp_path: Path) -> None:
    config = tmp_path / "chatserver.toml"
    config.write_text("drain_seconds = 7\nport = 1\n")
    url = "postgresql://chat@db/chat"
    argv = f"serve --config {config} --host ::1 --port 0 --data-dir {tmp_path} --database-url {url}"
    assert cli.main([*argv.split(), "--reuse-port", "--local-model"]) == 0
    assert server.settings is not None
    assert (server.settings.host, server.settings.port, server.settings.drain_seconds) == ("::1", 0, 7)
    assert (server.settings.data_dir, server.settings.database_url) == (tmp_path, url)
    assert server.options == {"reuse_port": True, "local_model": True}


def test_serve_needs_no_option(server: Served) -> None:
    assert cli.main(["serve"]) == 0
    assert server.settings == Settings()
    assert server.options == {"reuse_port": False, "local_model": False}


def test_serve_with_a_provider_needs_no_file(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert cli.main(["serve", "--provider", "openai", "--model", "m-1"]) == 0
    assert server.settings is not None
    assert list_providers(server.settings).default == "openai"
    assert server.settings.providers["openai"].model == "m-1"
    assert "sk-secret" not in repr(server.settings)


def test_exit_status_is_that_of_the_server(server: Served) -> None:
    server.behave = lambda: 5
    assert cli.main(["serve"]) == 5


def test_environment_is_read(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATSERVER_PORT", "81")
    monkeypatch.setenv("CHATSERVER_PING_SECONDS", "0.2")
    cli.main(["serve", "--port", "82"])
    assert server.settings is not None
    assert (server.settings.port, server.settings.ping_seconds) == (82, 0.2)


# --- failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        "",
        "sing",
        "serve now",
        "serve --prot 80",
        "serve --por 80",
        "serve --port",
        "serve --port eighty",
        "serve --port 65536",
        "serve --host 192.0.2.1",
        "serve --config /no/such/file.toml",
        "serve --database-url mysql://db/chat",
        "serve --provider mistral",
        "serve --provider openai",
        "serve --model m",
        "migrate --provider ollama",
        "migrate --port 80",
        "migrate --data-dir=",
        "agent",
        "agent rename",
        "agent create --adapter echo",
        "agent create --name A",
        "agent create --name A --adapter parrot",
        "agent create --name= --adapter echo",
        "agent create --name A --adapter echo --model m",
        "agent create --name A --adapter llm",
        "agent create --name A --adapter llm --provider p --temperature 3",
        "agent create --name A --adapter llm --provider p --temperature nan",
        "agent create --name A --adapter llm --provider p --max-tokens 0",
        "agent create --name A --adapter llm --provider p --max-tokens 1.5",
        "agent list --company 1",
        "token",
        "token create --name A",
        "token create --admin",
        f"token create --admin --name A --company {UUID}",
        "token create --admin --name A --role member",
        f"token create --company {UUID} --name A --role board",
        f"token create --company {UUID} --name=",
        f"token create --company {UUID} --name=\u200b",
        f"token create --company {UUID} --name={'a' * 201}",
        f"token create --company {UUID} --name A --expires 1.5",
        f"token create --company {UUID} --name A --expires 36501",
        f"token create --company {UUID} --name A --expires=-1",
        "token list --company 1",
        "token revoke",
        "token revoke 1",
        "token revoke --all",
        f"token revoke {UUID} --all --admin",
        f"token revoke --company {UUID}",
        f"token revoke {UUID} --company {UUID}",
        f"token revoke --all --admin --company {UUID}",
        f"token change {UUID}",
        "token change --role reader",
        "audit --since yesterday",
        "audit --since 99999999w",
        "audit --since 2026-13-01",
        "audit --company 1",
        "erase",
        "erase --yes",
        "erase --author=",
        "erase --company 1",
        "doctor",
        "doctor ftp://chat.example.org",
        "doctor http://",
        "doctor http://[::1",
        "doctor http://localhost:port",
    ],
)
def test_invalid_option_is_refused_in_one_line(capsys: Captured, argv: str) -> None:
    assert failure(capsys, *argv.split())


def test_refusal_names_the_option(capsys: Captured) -> None:
    llm = ["agent", "create", "--name", "A", "--adapter", "llm", "--provider", "p"]
    assert failure(capsys, *llm, "--max-tokens", "0").startswith("--max-tokens: ")
    assert failure(capsys, *llm, "--system-prompt", "\0") == "--system-prompt: must not contain NUL characters"
    assert failure(capsys, "agent", "create", "--name", " ", "--adapter", "echo").startswith("--name: ")


def test_refusal_repeats_no_password(capsys: Captured) -> None:
    url = "postgresql://chat:hunter2@db/chat"
    assert "hunter2" not in failure(capsys, "serve", "--database-ulr", url)
    assert "hunter2" not in failure(capsys, "serve", "--database-url", url + "?oops=1")


def test_configuration_error_at_start_is_one_line(capsys: Captured, server: Served) -> None:
    def behave() -> int:
        logging.getLogger("chatserver.server").error("trying")
        raise ConfigurationError("port 80 is in use")

    server.behave = behave
    assert failure(capsys, "serve") == "port 80 is in use"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ZeroDivisionError("it\ndivides"), "ZeroDivisionError: it\\ndivides"),
        (DatabaseUnavailableError(), "The database is not available"),
        (ValidationError([Problem("adapterConfig.provider", "unknown")]), "adapterConfig.provider: unknown"),
        (OSError(98, "Address in use"), "OSError: [Errno 98] Address in use"),
    ],
)
def test_unexpected_error_at_start_is_one_line(capsys: Captured, server: Served, error: Exception, line: str) -> None:
    def behave() -> int:
        raise error

    server.behave = behave
    assert failure(capsys, "serve") == line


def test_failed_start_at_level_debug_prints_all_lines(
    capsys: Captured, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATSERVER_LOG_LEVEL", "debug")

    def behave() -> int:
        logging.getLogger("chatserver.server").debug("trying")
        raise ZeroDivisionError

    server.behave = behave
    assert cli.main(["serve"]) == 2
    captured = capsys.readouterr().err
    assert "trying" in captured
    assert "Traceback" in captured
    assert captured.splitlines()[-1] == "chatserver: ZeroDivisionError"


def test_failure_after_the_start_is_logged(capsys: Captured, server: Served) -> None:
    def behave() -> int:
        logs.release()
        raise ZeroDivisionError

    server.behave = behave
    assert cli.main(["serve"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert '"level": "critical"' in line
    assert "ZeroDivisionError" in line


def test_interrupted_start_is_silent(capsys: Captured, server: Served) -> None:
    def behave() -> int:
        raise KeyboardInterrupt

    server.behave = behave
    assert cli.main(["serve"]) == 130
    assert capsys.readouterr().err == ""


def test_lines_logged_by_a_successful_command_are_written(capsys: Captured, server: Served) -> None:
    def behave() -> int:
        logging.getLogger("chatserver.server").warning("odd")
        return 0

    server.behave = behave
    assert cli.main(["serve"]) == 0
    assert '"odd"' in capsys.readouterr().err


def test_erasing_asks_a_person_first_and_does_nothing_without_a_yes(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_end, end = pty.openpty()
    with os.fdopen(own_end, "w") as keyboard, os.fdopen(end) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        keyboard.write("y\n")
        keyboard.flush()
        assert cli.main(["erase", "--author", "Ann B"]) == 1
    asked = 'This erases all that "Ann B" wrote, for good. Type yes to go on: '
    assert capsys.readouterr() == (f"{asked}nothing was erased\n", "")


# --- help --------------------------------------------------------------------------------------------------


def shown(capsys: Captured, *argv: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return " ".join(captured.out.split())


def test_help_shows_options_and_defaults(capsys: Captured) -> None:
    text = shown(capsys, "serve", "--help")
    for option in (
        "--config",
        "--host",
        "--port",
        "--data-dir",
        "--database-url",
        "--reuse-port",
        "--local-model",
        "--provider",
    ):
        assert option in text
    assert "(default: 127.0.0.1)" in text
    assert "(default: 8000)" in text


@pytest.mark.parametrize(
    "command",
    [
        "migrate",
        "agent create",
        "agent list",
        "token create",
        "token list",
        "token revoke",
        "token change",
        "audit",
        "erase",
        "doctor",
    ],
)
def test_every_command_takes_the_common_options(capsys: Captured, command: str) -> None:
    text = shown(capsys, *command.split(), "--help")
    for option in ("--config", "--data-dir", "--database-url"):
        assert option in text


def test_version_is_printed(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatserver.version.version", lambda name: {"chatserver": "1.2.3"}[name])
    assert shown(capsys, "--version") == "chatserver 1.2.3"
