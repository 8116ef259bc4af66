"""Where settings come from, which values they accept, and how invalid ones are refused."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chatserver.errors import ConfigurationError
from chatserver.services.provider_choice import list_providers
from chatserver.settings import Settings
from chatserver.settings_reading import load_settings, variable_name

MAIN = {"kind": "openai", "base_url": "http://127.0.0.1:11434/v1", "model": "llama3.2"}


def load(environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    return load_settings(None, overrides, environment or {})


def refusal(environment: Mapping[str, str] | None = None, **overrides: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(environment, **overrides)
    return one_line(caught.value)


def one_line(error: ConfigurationError) -> str:
    assert error.message.isprintable()
    return error.message


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "chatserver.toml"


def file_refusal(config: Path, text: str | bytes) -> str:
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config, {}, {})
    message = one_line(caught.value)
    assert message.startswith(f"{config}: ")
    return message.removeprefix(f"{config}: ")


# --- sources -----------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_contract() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.database_url) == ("127.0.0.1", 8000, None)
    assert settings.data_dir.is_absolute()
    assert settings.auth == "local_trusted"
    assert settings.default_company_id == UUID("00000000-0000-4000-8000-000000000001")
    assert settings.ping_seconds == 15
    assert settings.slow_reader_seconds == 30
    assert settings.resume_grace_seconds == 10
    assert settings.drain_seconds == 20
    assert settings.max_body_bytes == 1024 * 1024
    assert settings.max_message_chars == 100_000
    assert settings.max_answer_chars == 1_000_000
    assert (settings.max_streams, settings.max_runs, settings.requests_per_minute) == (10_000, 1_000, 0)
    assert settings.default_provider is None
    assert settings.providers == {}
    assert settings.allowed_hosts == ("localhost", "127.0.0.1", "::1")
    assert (settings.allowed_origins, settings.trusted_proxies) == ((), ())


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(config: Path) -> None:
    config.write_text("port = 1\nping_seconds = 1\ndrain_seconds = 1\n")
    environment = {"CHATSERVER_PORT": "2", "CHATSERVER_PING_SECONDS": "2", "PATH": "/bin"}
    settings = load_settings(config, {"port": "3"}, environment)
    assert (settings.port, settings.ping_seconds, settings.drain_seconds) == (3, 2, 1)
    assert settings.max_runs == 1_000


def test_constructor_does_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATSERVER_PORT", "1")
    assert Settings().port == 8000


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1


def test_providers_of_the_environment_replace_those_of_the_file(config: Path) -> None:
    config.write_text('[providers.file]\nkind = "echo"\n')
    settings = load_settings(config, {}, {"CHATSERVER_PROVIDERS": json.dumps({"main": MAIN})})
    assert list(settings.providers) == ["main"]
    assert settings.providers["main"].base_url == MAIN["base_url"]


def test_provider_example_of_the_contract_is_valid(config: Path) -> None:
    config.write_text("""
        default_provider = "main"
        [providers.main]            # any number of them; only the operator can name URLs and keys
        kind = "openai"
        base_url = "http://127.0.0.1:11434/v1"
        api_key_env = "OPENAI_API_KEY"
        model = "llama3.2"
        [providers.slow]
        kind = "echo"
        pace_ms = 50
    """)
    settings = load_settings(config, {}, {})
    assert settings.providers["main"].api_key_env == "OPENAI_API_KEY"
    assert settings.providers["slow"].pace_ms == 50


def test_the_only_provider_answers_by_default() -> None:
    two = {"main": MAIN, "slow": {"kind": "echo"}}
    assert list_providers(Settings()).default is None
    assert list_providers(Settings(providers={"main": MAIN})).default == "main"
    assert list_providers(Settings(providers=two)).default is None
    assert list_providers(Settings(providers=two, default_provider="slow")).default == "slow"


@pytest.mark.parametrize("text", ["a.example,B.example", '["a.example", "b.example"]', " a.example , b.example, "])
def test_a_list_in_the_environment(text: str) -> None:
    assert load({"CHATSERVER_ALLOWED_HOSTS": text}).allowed_hosts == ("a.example", "b.example")


def test_an_empty_list_in_the_environment() -> None:
    assert load({"CHATSERVER_ALLOWED_HOSTS": ""}).allowed_hosts == ()


# --- forms -------------------------------------------------------------------------------------------------


def test_hosts_have_one_form() -> None:
    hosts = load({"CHATSERVER_ALLOWED_HOSTS": "[::1],[0:0::2],Chat.Example.ORG.,10.0.0.1"}).allowed_hosts
    assert hosts == ("::1", "::2", "chat.example.org", "10.0.0.1")


def test_origins_have_the_form_in_which_browsers_send_them() -> None:
    origins = load(allowed_origins=["https://Chat.Example:443/", "http://x.example:8080", "http://[::1]:80"])
    assert origins.allowed_origins == ("https://chat.example", "http://x.example:8080", "http://[::1]")


def test_proxies_are_addresses_and_networks() -> None:
    assert load({"CHATSERVER_TRUSTED_PROXIES": "10.0.0.1, fd00::/8"}).trusted_proxies == (
        ipaddress.ip_network("10.0.0.1/32"),
        ipaddress.ip_network("fd00::/8"),
    )


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "PostgreSQL"])
def test_a_database_url_has_one_scheme_and_keeps_the_rest(scheme: str) -> None:
    rest = "chat:p%40ss@db.example:5433/chat?sslmode=verify-full&host=/run/postgresql"
    assert load(database_url=f"{scheme}://{rest}").database_url == f"postgresql://{rest}"


def test_folders_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load(data_dir="data").data_dir == tmp_path / "data"
    assert load(data_dir="~/data").data_dir == Path("/home/somebody/data")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]", "LocalHost"])
def test_loopback_suits_local_trusted(host: str) -> None:
    load(host=host)


def test_authenticated_may_listen_anywhere() -> None:
    assert load(auth="authenticated", host="0.0.0.0").host == "0.0.0.0"


@pytest.mark.parametrize("auth", ["local_trusted", "authenticated", "proxy"])
def test_a_unix_socket_suits_all_modes(auth: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(auth=auth, host="unix:/run/Chat.sock").host == "unix:/run/Chat.sock"
    assert load(auth=auth, host=" unix:chat.sock").host == f"unix:{tmp_path}/chat.sock"


def test_peers_on_the_unix_socket_may_be_trusted_proxies() -> None:
    network = ipaddress.ip_network("10.0.0.0/8")
    assert load({"CHATSERVER_TRUSTED_PROXIES": "Unix, 10.0.0.0/8"}).trusted_proxies == ("unix", network)
    assert load(trusted_proxies=["unix"]).trusted_proxies == ("unix",)


def test_fractions_of_a_second_and_zero_grace_are_accepted() -> None:
    settings = load({"CHATSERVER_PING_SECONDS": "0.2", "CHATSERVER_RESUME_GRACE_SECONDS": "0"})
    assert (settings.ping_seconds, settings.resume_grace_seconds) == (0.2, 0)


# --- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", ""),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "1e400"),
        ("PING_SECONDS", "0"),
        ("PING_SECONDS", "nan"),
        ("PING_SECONDS", "inf"),
        ("SLOW_READER_SECONDS", "0"),
        ("RESUME_GRACE_SECONDS", "-1"),
        ("DRAIN_SECONDS", "-0.1"),
        ("LEASE_SECONDS", "16"),
        ("DATABASE_CONNECTIONS", "0"),
        ("MAX_RUNS", "1.5"),
        ("AUTH", "none"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("DEFAULT_COMPANY_ID", "00000000000040008000000000000001"),
        ("DEFAULT_COMPANY_ID", "{00000000-0000-4000-8000-00000000001}"),
        ("DATA_DIR", ""),
        ("DATA_DIR", "~no-such-user-here/data"),
        ("HOST", ""),
        ("HOST", "local host"),
        ("HOST", "http://localhost"),
        ("HOST", "0.0.0.0"),
        ("HOST", "unix:"),
        ("HOST", "unix:/run/\0"),
        ("HOST", "unix:~no-such-user-here/chat.sock"),
        ("HOST", "192.0.2.1"),
        ("HOST", "chat.example.org"),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "mysql://localhost/chat"),
        ("DATABASE_URL", "postgresql+psycopg://localhost/chat"),
        ("DATABASE_URL", "localhost/chat"),
        ("DATABASE_URL", "postgresql://localhost/chat?no_such_parameter=1"),
        ("LISTEN_DATABASE_URL", "postgresql://localhost/chat"),
        ("DEFAULT_PROVIDER", "nobody"),
        ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://a.example/path"),
        ("ALLOWED_ORIGINS", "https://a.example:99999"),
        ("ALLOWED_HOSTS", "a.example:80"),
        ("ALLOWED_HOSTS", '["a.example", 3]'),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("TRUSTED_PROXIES", "unix:/run/chat.sock"),
        ("ALLOWED_HOSTS", "unix:/run/chat.sock"),
        ("PROVIDERS", "{"),
        ("PROVIDERS", "[]"),
        ("PROVIDERS", "[" * 100_000),
        ("PROVIDERS", '{"main": 1}'),
    ],
)
def test_invalid_value_is_refused_with_the_variable_name(variable: str, value: str) -> None:
    message = refusal({f"CHATSERVER_{variable}": value})
    assert re.match(rf"CHATSERVER_{variable}\b.*: [a-z]", message), message


def test_error_of_the_command_line_names_the_option() -> None:
    assert refusal(data_dir="") == "--data-dir: should name a folder"


def test_error_of_the_file_names_the_key(config: Path) -> None:
    assert file_refusal(config, "port = 65536") == "port: should be less than or equal to 65535"
    assert file_refusal(config, "prot = 1") == "prot: no such setting"
    assert file_refusal(config, '"a\\nb" = 1') == '"a\\nb": no such setting'
    assert file_refusal(config, '[providers.main]\nkind = "echo"\npace = 1') == "providers.main.pace: no such setting"
    assert file_refusal(config, 'allowed_hosts = ["a", "b c"]').startswith("allowed_hosts[1]: ")


def test_a_boolean_is_no_number(config: Path) -> None:
    assert file_refusal(config, "port = true") == "port: should be a number, not a boolean"
    assert "boolean" in file_refusal(config, '[providers.main]\nkind = "echo"\npace_ms = true')


def test_a_value_that_the_command_line_overrides_does_not_matter(config: Path) -> None:
    config.write_text("port = 70000")
    assert load_settings(config, {"port": "1"}, {}).port == 1


@pytest.mark.parametrize("text", ["port = ", "port 1", "[providers", "port = 1\nport = 2", f"port = {'9' * 5_000}"])
def test_a_file_that_is_not_toml(config: Path, text: str) -> None:
    assert file_refusal(config, text).startswith("is not valid TOML: ")


def test_a_file_of_endless_nesting(config: Path) -> None:
    assert file_refusal(config, "port = " + "[" * 20_000).startswith("is not valid TOML: ")


def test_byte_order_mark_at_the_beginning_of_the_file_is_passed_over(config: Path) -> None:
    """As editors on Windows write it; with their line ends, too."""
    config.write_bytes('\ufeffport = 1234\r\ndefault_company_id = "00000000-0000-4000-8000-000000000009"\r\n'.encode())
    assert load_settings(config, {}, {}).port == 1234
    assert "is not valid TOML" in file_refusal(config, "port = 1\n\ufeff")
    assert file_refusal(config, "port = 1".encode("utf-16")) == "is not UTF-8"


def test_a_file_that_is_not_utf8(config: Path) -> None:
    assert file_refusal(config, b'host = "\xff"') == "is not UTF-8"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read") as caught:
            load_settings(path, {}, {})
        assert one_line(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "name", ["CHATSERVER_PROT", "CHATSERVER_port", "chatserver_PORT", "CHATSERVER_", "CHATSERVER_A\nB"]
)
def test_an_unknown_variable_is_refused(name: str) -> None:
    assert refusal({name: "1"}).endswith(": no such setting")


def test_variables_of_other_programs_are_ignored() -> None:
    load({"CHATSERVERX": "1", "MY_CHATSERVER_PORT": "1", "CHATSERVER_TEST_DATABASE_URL": "x"})


def test_api_key_variable_may_have_our_prefix() -> None:
    provider = MAIN | {"api_key_env": "CHATSERVER_MAIN_KEY"}
    load({"CHATSERVER_PROVIDERS": json.dumps({"main": provider}), "CHATSERVER_MAIN_KEY": "secret"})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"kind": "gemini"}, r"main\.kind: should be 'openai'"),
        ({"base_url": None}, r'main\.base_url: is needed for kind = "openai"'),
        ({"base_url": "ftp://models.example"}, r"main\.base_url: should be a URL in ASCII that begins with http"),
        ({"base_url": "http://modèles.example"}, r"main\.base_url: should be a URL in ASCII"),
        ({"base_url": "http://"}, r"main\.base_url: should be a URL"),
        ({"base_url": "http://models.example/v1?key=1"}, r"main\.base_url: should have no query"),
        ({"base_url": "http://a b/"}, r"main\.base_url: should hold no spaces"),
        ({"model": None}, r"main\.model: is needed"),
        ({"model": ""}, r"main\.model: "),
        ({"retries": 11}, r"main\.retries: "),
        ({"pace_ms": -1}, r"main\.pace_ms: "),
        ({"max_tokens_field": "n"}, r"main\.max_tokens_field: "),
        ({"api_key_env": "sk-123"}, r"main\.api_key_env: should be the name of an environment variable"),
        ({"oops": 1}, r"main\.oops: no such setting"),
    ],
)
def test_a_bad_provider(changed: dict[str, Any], reason: str) -> None:
    message = refusal(providers={"main": MAIN | changed})
    assert re.match(rf"--providers\.{reason}", message), message


def test_a_bad_name_of_a_provider() -> None:
    assert "should be a name" in refusal(providers={"a b": MAIN})


@pytest.mark.parametrize(
    "environment",
    [
        {"CHATSERVER_DATABASE_URL": "mysql://chat:hunter2@db.example/chat"},
        {"CHATSERVER_DATABASE_URL": "postgresql://chat:hunter2@[db/chat"},
        {"CHATSERVER_DATABASE_URL": "postgresql://chat:hunter2@db/chat?oops=hunter2"},
        {"CHATSERVER_DATABASE_URL": "postgresql://chat:hunter2@db/\x01"},
        {"CHATSERVER_PROVIDERS": json.dumps({"main": MAIN | {"base_url": "http://me:hunter2@models.example"}})},
        {"CHATSERVER_PROVIDERS": json.dumps({"main": MAIN | {"api_key_env": "sk-hunter2"}})},
        {"CHATSERVER_PROVIDERS": '{"main": hunter2'},
        {"CHATSERVER_ALLOWED_ORIGINS": "https://me:hunter2@chat.example"},
    ],
)
def test_no_secret_is_repeated(environment: dict[str, str]) -> None:
    assert "hunter2" not in refusal(environment)


def test_a_database_url_does_not_show_in_the_representation() -> None:
    assert "hunter2" not in repr(load(database_url="postgresql://chat:hunter2@db/chat"))


def complaint(config: Path | None, environment: Mapping[str, str]) -> str | None:
    try:
        load_settings(config, {}, environment)
    except ConfigurationError as error:
        return one_line(error)
    return None


@given(st.sampled_from(sorted(Settings.model_fields)), st.text(max_size=40))
def test_arbitrary_variable_is_accepted_or_refused_in_one_line(name: str, value: str) -> None:
    message = complaint(None, {variable_name(name): value})
    assert message is None or message.startswith(variable_name(name))


@given(st.binary(max_size=60) | st.text("[]{}=\"'\n.a1 #,\\", max_size=60).map(str.encode))
def test_arbitrary_file_is_accepted_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    config = tmp_path_factory.getbasetemp() / "any.toml"
    config.write_bytes(content)
    message = complaint(config, {})
    assert message is None or message.startswith(str(config))
