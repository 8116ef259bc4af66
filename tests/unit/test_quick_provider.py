"""`--provider`: the provider that the variables of its maker describe. tests/process asks real processes."""

from __future__ import annotations

import pytest

from chatserver.errors import ConfigurationError
from chatserver.providers.factory import make_provider
from chatserver.quick_provider import (
    ANTHROPIC_MAX_TOKENS,
    ANTHROPIC_MODEL,
    OPENAI_MODEL,
    VARIABLES,
    ollama_url,
    with_quick_provider,
)
from chatserver.services.provider_choice import list_providers
from chatserver.settings import Settings
from chatserver.settings_tables import ProviderSettings

KEYS = {"OPENAI_API_KEY": "sk-secret", "ANTHROPIC_API_KEY": "sk-ant-secret"}
MAIN = ProviderSettings(kind="openai", base_url="http://127.0.0.1:1/v1", model="m")


def provider(kind: str, model: str | None = None, **environment: str) -> ProviderSettings:
    settings = with_quick_provider(Settings(), kind, model, environment)
    assert list_providers(settings).default == kind
    assert list(settings.providers) == [kind]
    made = settings.providers[kind]
    make_provider(kind, made, environment).close()
    return made


def refusal(kind: str, model: str | None = None, **environment: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        with_quick_provider(Settings(), kind, model, environment)
    assert "secret" not in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message


# --- what they become -------------------------------------------------------------------------------------


def test_openai_needs_only_its_key() -> None:
    made = provider("openai", **KEYS)
    assert (made.kind, made.base_url, made.model) == ("openai", "https://api.openai.com/v1", OPENAI_MODEL)
    assert (made.api_key_env, made.max_tokens_field) == ("OPENAI_API_KEY", "max_completion_tokens")
    assert "secret" not in repr(made)


def test_anthropic_needs_only_its_key() -> None:
    made = provider("anthropic", **KEYS)
    assert (made.kind, made.base_url, made.model) == ("anthropic", "https://api.anthropic.com", ANTHROPIC_MODEL)
    assert (made.api_key_env, made.max_tokens) == ("ANTHROPIC_API_KEY", ANTHROPIC_MAX_TOKENS)


def test_ollama_with_a_model_needs_nothing_and_asks_nothing() -> None:
    made = provider("ollama", "qwen3")
    assert (made.kind, made.base_url, made.model) == ("openai", "http://127.0.0.1:11434/v1", "qwen3")
    assert made.api_key_env is None


@pytest.mark.parametrize("kind", VARIABLES)
def test_given_model_is_used(kind: str) -> None:
    assert provider(kind, "m-1", **KEYS).model == "m-1"


def test_base_url_of_another_server_is_used() -> None:
    made = provider("openai", "m", OPENAI_BASE_URL=" http://gpu.example.org:8000/v1/ ", **KEYS)
    assert (made.base_url, made.max_tokens_field) == ("http://gpu.example.org:8000/v1", "max_tokens")
    assert provider("anthropic", ANTHROPIC_BASE_URL="http://gpu/v1", **KEYS).base_url == "http://gpu/v1"
    # An empty variable counts as one that is not set, and a region of OpenAI is OpenAI.
    assert provider("openai", OPENAI_BASE_URL="", **KEYS).model == OPENAI_MODEL
    assert provider("openai", OPENAI_BASE_URL="https://eu.api.openai.com/v1", **KEYS).model == OPENAI_MODEL


def test_own_server_may_need_no_key() -> None:
    assert provider("openai", "m", OPENAI_BASE_URL="http://gpu/v1").api_key_env is None
    assert provider("anthropic", ANTHROPIC_BASE_URL="http://gpu").api_key_env is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("gpu", "http://gpu:11434"),
        ("gpu:8080", "http://gpu:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]:11434"),
        ("[fe80::1]", "http://[fe80::1]:11434"),
        ("http://gpu", "http://gpu"),
        ("https://gpu.example.org/", "https://gpu.example.org"),
        ("http://gpu:8080/ollama/", "http://gpu:8080/ollama"),
        ("gpu/ollama", "http://gpu:11434/ollama"),
        (' "gpu:8080" ', "http://gpu:8080"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(host: str, url: str) -> None:
    assert ollama_url(host) == url
    assert provider("ollama", "m", OLLAMA_HOST=host).base_url == f"{url}/v1"


# --- beside other settings --------------------------------------------------------------------------------


def test_it_answers_by_default_beside_other_providers() -> None:
    settings = Settings(providers={"main": MAIN, "other": MAIN}, default_provider="main")
    changed = with_quick_provider(settings, "anthropic", None, KEYS)
    assert list(changed.providers) == ["main", "other", "anthropic"]
    assert list_providers(changed).default == "anthropic"


def test_provider_of_that_name_is_not_replaced() -> None:
    settings = Settings(providers={"openai": MAIN})
    with pytest.raises(ConfigurationError, match='have a provider openai already; .* default_provider = "openai"'):
        with_quick_provider(settings, "openai", None, KEYS)


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("value", [None, "", " "])
def test_missing_key_is_named(kind: str, value: str | None) -> None:
    variable = VARIABLES[kind]
    environment = {} if value is None else {variable: value}
    assert refusal(kind, **environment) == f"--provider {kind}: {variable} is not set; put your API key into it"


@pytest.mark.parametrize(
    ("kind", "variable", "value"),
    [
        ("openai", "OPENAI_BASE_URL", "gpu:8000/secret"),
        ("openai", "OPENAI_BASE_URL", "http://me:secret@gpu/v1"),
        ("anthropic", "ANTHROPIC_BASE_URL", "ftp://secret"),
        ("ollama", "OLLAMA_HOST", "http://me:secret@gpu"),
        ("ollama", "OLLAMA_HOST", "secret:port"),
        ("ollama", "OLLAMA_HOST", "two secrets"),
    ],
)
def test_bad_address_is_refused_by_its_variable(kind: str, variable: str, value: str) -> None:
    assert refusal(kind, "m", **KEYS, **{variable: value}).startswith(f"{variable}: ")


@pytest.mark.parametrize("model", ["", "m" * 201])
def test_bad_model_is_refused_by_its_option(model: str) -> None:
    assert refusal("openai", model, **KEYS).startswith("--model: ")
