"""`serve --provider`: one provider without a file, from the variables that the tools of its maker read, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pydantic

from chatserver.errors import ConfigurationError
from chatserver.settings import Settings
from chatserver.settings_tables import ProviderSettings

# What `--provider` may name, and the variable whose presence says that somebody has it.
VARIABLES = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "ollama": "OLLAMA_HOST"}

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_MODEL = "gpt-4.1-mini"
ANTHROPIC_URL = "https://api.anthropic.com"
ANTHROPIC_MODEL = "claude-sonnet-4-6"
# Anthropic's API requires a bound. This one is room for a long answer.
ANTHROPIC_MAX_TOKENS = 8_192
OLLAMA_PORT = 11_434
# The first question loads the model.
OLLAMA_FIRST_TOKEN_SECONDS = 300


def with_quick_provider(settings: Settings, kind: str, model: str | None, environment: Mapping[str, str]) -> Settings:
    """The settings with a provider called `kind`, which answers by default.

    `kind` is a key of VARIABLES. `model` None: the one that suits most, or the first that the server lists. Raises
    ConfigurationError with one line that says what to do.
    """
    if kind in settings.providers:
        raise ConfigurationError(
            f"--provider {kind}: the settings have a provider {kind} already; "
            f'leave the option out, and let it answer by default_provider = "{kind}"'
        )
    provider = _MAKERS[kind](model, environment)
    providers = {**settings.providers, kind: provider}
    return settings.model_copy(update={"providers": providers, "default_provider": kind})


# --- the kinds --------------------------------------------------------------------------------------------


def _openai(model: str | None, environment: Mapping[str, str]) -> ProviderSettings:
    given = _given(environment, "OPENAI_BASE_URL")
    url = _checked_url("OPENAI_BASE_URL", given or OPENAI_URL)
    is_own = not _is_of_openai(url)
    key = _key("openai", environment, needed=not is_own)
    if model is None:
        model = _first_model("openai", url, "the server at OPENAI_BASE_URL", key) if is_own else OPENAI_MODEL
    return _provider(
        kind="openai",
        base_url=url,
        api_key_env="OPENAI_API_KEY" if key else None,
        model=model,
        # OpenAI's reasoning models know the bound by this name only, its other models by both.
        max_tokens_field="max_tokens" if is_own else "max_completion_tokens",
    )


def _anthropic(model: str | None, environment: Mapping[str, str]) -> ProviderSettings:
    given = _given(environment, "ANTHROPIC_BASE_URL")
    key = _key("anthropic", environment, needed=given is None)
    return _provider(
        kind="anthropic",
        base_url=_checked_url("ANTHROPIC_BASE_URL", given or ANTHROPIC_URL),
        api_key_env="ANTHROPIC_API_KEY" if key else None,
        model=ANTHROPIC_MODEL if model is None else model,
        max_tokens=ANTHROPIC_MAX_TOKENS,
    )


def _ollama(model: str | None, environment: Mapping[str, str]) -> ProviderSettings:
    address = ollama_url(environment.get("OLLAMA_HOST", ""))
    url = _checked_url("OLLAMA_HOST", f"{address}/v1")
    if model is None:
        model = _first_model("ollama", url, f"Ollama at {address}", None)
    return _provider(kind="openai", base_url=url, model=model, first_token_seconds=OLLAMA_FIRST_TOKEN_SECONDS)


_MAKERS = {"openai": _openai, "anthropic": _anthropic, "ollama": _ollama}


_THIS_MACHINE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing listens there)


def ollama_url(host: str) -> str:
    """The URL for a value of OLLAMA_HOST, as Ollama reads it: a host, `host:port`, or a URL.

    Without a port it is 11434, or after a scheme the scheme's own. An address that means all networks, which servers
    listen on, becomes this machine.
    """
    scheme, separator, rest = host.strip().strip("\"'").strip().rpartition("://")
    scheme = scheme or "http"
    authority, slash, path = rest.rstrip("/").partition("/")
    name, colon, port = authority.rpartition(":")
    if not colon or "]" in port or (":" in name and not name.endswith("]")):
        name, port = authority, ""  # there is no port; perhaps an IPv6 address without brackets
    name = name.strip("[]")
    name = _THIS_MACHINE.get(name, name)
    if not port and not separator:
        port = str(OLLAMA_PORT)
    shown = f"[{name}]" if ":" in name else name
    return f"{scheme}://{shown}" + (f":{port}" if port else "") + slash + path


def _is_of_openai(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


# --- values -----------------------------------------------------------------------------------------------


def _given(environment: Mapping[str, str], variable: str) -> str | None:
    return environment.get(variable, "").strip() or None


def _key(kind: str, environment: Mapping[str, str], *, needed: bool) -> str | None:
    """The key, which must never be shown. It is not kept: the provider reads it from its variable."""
    variable = VARIABLES[kind]
    key = _given(environment, variable)
    if key is None and needed:
        raise ConfigurationError(f"--provider {kind}: {variable} is not set; put your API key into it")
    return key


def _checked_url(variable: str, url: str) -> str:
    """Raises ConfigurationError that names the variable and not its value."""
    try:
        return _provider(kind="openai", base_url=url, model="any").base_url or ""
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{variable}: {reason}") from None


def _provider(**values: Any) -> ProviderSettings:
    try:
        return ProviderSettings.model_validate(values)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        if problem["loc"] != ("model",):
            raise
        raise ConfigurationError(f"--model: {problem['msg']}") from None


# --- what the server offers -------------------------------------------------------------------------------


def _first_model(kind: str, url: str, server: str, key: str | None) -> str:
    """The first model that can chat of the server's list; Ollama's list begins with the newest one."""
    from chatserver.model_list import list_models  # few starts need it

    try:
        name = next(filter(_can_chat, list_models(url, key)), None)
    except ConfigurationError as error:
        raise ConfigurationError(f"--provider {kind}: {server} {error.message}; {_ADVICE[kind]}") from None
    if name is None:
        advice = "ollama pull llama3.2 gets one, and --model names one" if kind == "ollama" else "name one with --model"
        raise ConfigurationError(f"--provider {kind}: {server} lists no model; {advice}")
    return name


_ADVICE = {
    "openai": "name a model with --model",
    "ollama": "start it with ollama serve, say where it is in OLLAMA_HOST, or name a model with --model",
}


def _can_chat(name: str) -> bool:
    """Models that turn text into vectors stand in the list, too."""
    return not re.search(r"embed|minilm|bge-|rerank", name, re.IGNORECASE)
