"""Every setting once: its unit, bounds, default and meaning; and how the three places it may stand in are read.

The command line wins over the environment, the environment over the TOML file, the file over the default. A
setting is taken as a whole: `CHATSERVER_PROVIDERS` replaces all providers of the file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ValidationInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from chatserver.errors import ConfigurationError
from chatserver.settings_types import (
    CompanyId,
    DatabaseUrl,
    Folder,
    HostName,
    HostNames,
    ModelUrl,
    Networks,
    Number,
    Origins,
    ProviderName,
    VariableName,
    Whole,
    decode_table,
    is_loopback,
)

ENVIRONMENT_PREFIX = "CHATSERVER_"
# The tests' own variables: a server that a test starts inherits them.
FOREIGN_PREFIXES = ("CHATSERVER_TEST_",)


# --- the settings ------------------------------------------------------------------------------------------


class ProviderSettings(BaseModel):
    """A source of answers: a table `[providers.NAME]` of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    kind: Literal["openai", "anthropic", "echo"] = Field(
        description="The wire format: OpenAI's chat completions, Anthropic's messages, or the built-in echo.",
        examples=["openai"],
    )
    base_url: ModelUrl | None = Field(
        default=None,
        description="Where the model's API begins, version included; needed unless the kind is echo.",
        examples=["http://127.0.0.1:11434/v1"],
    )
    api_key_env: VariableName | None = Field(
        default=None,
        description="The environment variable that holds the key; none: no key is sent.",
        examples=["OPENAI_API_KEY"],
    )
    model: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="The model, unless the agent names one; needed unless the kind is echo.",
        examples=["llama3.2"],
    )
    pace_ms: Number = Field(default=5, ge=0, le=10_000, description="Echo only: the time between two pieces.")
    connect_seconds: Number = Field(default=10, gt=0, le=600, description="How long connecting may take.")
    first_token_seconds: Number = Field(
        default=120, gt=0, le=3_600, description="How long the model may take to begin its answer."
    )
    between_tokens_seconds: Number = Field(
        default=60, gt=0, le=3_600, description="How long the model may be silent within its answer."
    )
    retries: Whole = Field(
        default=2, ge=0, le=10, description="How often a request that failed before the first token is sent again."
    )
    alternate_roles: bool | None = Field(
        default=None,
        description="Whether neighbouring messages of one role are joined into one; none: as the kind needs it.",
        examples=[True],
    )
    max_tokens: Whole | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="The longest answer to ask for, unless the agent says so; none: as the kind needs it.",
        examples=[1024],
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="The key under which an OpenAI-compatible server expects max_tokens."
    )

    @field_validator("base_url", "model")
    @classmethod
    def _needed_for_a_model(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("kind") in ("openai", "anthropic"):
            raise ValueError(f'is needed for kind = "{info.data["kind"]}"')
        return value


class Settings(BaseSettings):
    """All settings of one process, checked; `load_settings` reads them from where they stand.

    Made directly, it takes its keywords only and looks at neither environment nor file.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    auth: Literal["local_trusted", "authenticated"] = Field(
        default="local_trusted",
        description="Who may do what: local_trusted binds to loopback only and trusts everyone there; "
        "authenticated asks for tokens, and is not part of this version.",
    )
    host: HostName = Field(default="127.0.0.1", description="The address or name to listen on.")
    port: Whole = Field(default=8000, ge=0, le=65_535, description="The TCP port to listen on; 0 takes a free one.")
    data_dir: Folder = Field(
        default_factory=lambda: platformdirs.user_data_path("chatserver", appauthor=False),
        description="The folder of the embedded database.",
        examples=["/var/lib/chatserver"],
    )
    database_url: DatabaseUrl | None = Field(
        default=None,
        repr=False,
        description="The PostgreSQL database, a postgresql:// URL; none: an embedded one, kept in data_dir.",
        examples=["postgresql://chat@db.example.org/chat"],
    )
    listen_database_url: DatabaseUrl | None = Field(
        default=None,
        repr=False,
        examples=["postgresql://chat@db.example.org:5432/chat"],
        description="A direct URL where database_url leads to a transaction pooler, which is then sent no prepared "
        "statements and no settings of a session; none: database_url is direct.",
    )
    database_connections: Whole = Field(
        default=8, ge=1, le=200, description="Connections to the database, and threads that use them."
    )
    statement_timeout_seconds: Number = Field(
        default=30, gt=0, le=3_600, description="How long one SQL statement may take."
    )
    lease_seconds: Number = Field(
        default=10,
        gt=0,
        le=15,
        description="How long a process keeps its answers without renewing its lease; then another takes them over.",
    )
    default_company_id: CompanyId = Field(
        default=UUID("00000000-0000-4000-8000-000000000001"),
        description="The company that /session names in local_trusted.",
    )
    ping_seconds: Number = Field(
        default=15, gt=0, le=3_600, description="How long a stream may be silent before a ping goes out."
    )
    slow_reader_seconds: Number = Field(
        default=30, gt=0, le=3_600, description="How long a reader may take nothing before it is cut off."
    )
    resume_grace_seconds: Number = Field(
        default=10,
        ge=0,
        le=3_600,
        description="How long an answer waits for a reader to come back before it is dropped; 0: not at all.",
    )
    drain_seconds: Number = Field(
        default=20, ge=0, le=3_600, description="How long requests and streams may go on after SIGTERM to finish."
    )
    max_body_bytes: Whole = Field(
        default=1_048_576, ge=1_024, le=1_073_741_824, description="The largest request body; past it 413."
    )
    max_message_chars: Whole = Field(
        default=100_000, ge=1, le=10_000_000, description="The longest message that is taken; past it 400."
    )
    max_answer_chars: Whole = Field(
        default=1_000_000,
        ge=1,
        le=100_000_000,
        description="The longest answer of a model; past it the answer fails with answer_too_long.",
    )
    max_streams: Whole = Field(
        default=10_000, ge=1, le=1_000_000, description="Open streams of this process; past it 503."
    )
    max_runs: Whole = Field(
        default=1_000,
        ge=1,
        le=1_000_000,
        description="Answers that this process makes, waits for or follows at once; past it 503.",
    )
    requests_per_minute: Whole = Field(
        default=0, ge=0, le=1_000_000, description="Requests of one address; past it 429; 0: no limit."
    )
    providers: Annotated[dict[ProviderName, ProviderSettings], NoDecode, BeforeValidator(decode_table)] = Field(
        default={}, description="Sources of answers by name; in the environment a JSON object."
    )
    default_provider: str | None = Field(
        default=None,
        examples=["main"],
        description="The provider that serves conversations whose agent is not registered; none: the built-in echo.",
    )
    allowed_hosts: HostNames = Field(
        default=("localhost", "127.0.0.1", "::1"),
        description="The host names, without port, that a request's Host header may name.",
    )
    allowed_origins: Origins = Field(default=(), description="Other sites whose pages may call the API.")
    trusted_proxies: Networks = Field(
        default=(), description="Addresses and networks of proxies whose X-Forwarded-For is believed."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severity that is logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="JSON lines, or text for people; auto: text on a terminal, json elsewhere."
    )

    @field_validator("host")
    @classmethod
    def _trust_stays_on_this_machine(cls, host: str, info: ValidationInfo) -> str:
        if info.data.get("auth") == "local_trusted" and not is_loopback(host):
            raise ValueError('should be a loopback address, such as 127.0.0.1, while auth = "local_trusted"')
        return host

    @field_validator("listen_database_url")
    @classmethod
    def _listen_where_the_data_is(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is not None and info.data.get("database_url", "") is None:
            raise ValueError("is of no use without database_url")
        return url

    @field_validator("default_provider")
    @classmethod
    def _default_is_there(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and name not in info.data.get("providers", {name}):
            raise ValueError("names no provider")
        return name

    @classmethod
    def settings_customise_sources(cls, *_args: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        return (sources["init_settings"],)


# --- where they stand --------------------------------------------------------------------------------------


def variable_name(setting: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + setting.upper()


def option_name(setting: str) -> str:
    """The command-line option of a setting."""
    return "--" + setting.replace("_", "-")


def load_settings(config: Path | None, overrides: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """The settings of this process.

    `config` is the TOML file (None: there is none), `overrides` what the command line gave, by the settings'
    names, and `environment` the variables of the process, of which those that begin with `CHATSERVER_` count.

    Raises ConfigurationError, in one line that names the place and repeats no value: it might be a secret.
    """
    from_file = _read_file(config) if config is not None else {}
    from_environment = _read_environment(environment)
    try:
        settings = Settings(**{**from_file, **from_environment, **overrides})
    except ValidationError as error:
        problem = error.errors()[0]
        name, *rest = problem["loc"]
        if name in overrides:
            place = option_name(str(name))
        elif name in from_environment:
            place = variable_name(str(name))
        else:
            place = f"{config}: {_shown(str(name))}" if config is not None else str(name)
        raise ConfigurationError(f"{_inside(place, rest)}: {_explained(problem)}") from None
    _refuse_unknown_variables(settings, environment)
    return settings


def _read_file(config: Path) -> dict[str, Any]:
    try:
        with config.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{config}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{config}: is not UTF-8") from None
    except (ValueError, RecursionError) as error:  # beside TOMLDecodeError: a number of 5,000 digits
        raise ConfigurationError(f"{config}: is not valid TOML: {error}") from None


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environment.items()}
    return source()


def _refuse_unknown_variables(settings: Settings, environment: Mapping[str, str]) -> None:
    known = {variable_name(name) for name in Settings.model_fields}
    known.update(provider.api_key_env for provider in settings.providers.values() if provider.api_key_env)
    for name in sorted(environment):
        ours = name.upper().startswith(ENVIRONMENT_PREFIX) and not name.startswith(FOREIGN_PREFIXES)
        if ours and name not in known:
            raise ConfigurationError(f"{_shown(name)}: no such setting")


def _inside(place: str, path: list[int | str]) -> str:
    """`providers` and `["main", "port"]` → `providers.main.port`; the marks pydantic adds to keys are left out."""
    for step in path:
        if step != "[key]":
            place += f"[{step}]" if isinstance(step, int) else f".{_shown(step)}"
    return place


def _explained(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return "no such setting"
    return problem["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _shown(name: str) -> str:
    """A name that somebody else chose, fit to stand in one line."""
    return name if re.fullmatch(r"[\w.-]{1,80}", name) else json.dumps(name[:80])
