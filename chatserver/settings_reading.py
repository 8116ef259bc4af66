"""How the settings are read: from the command line, the environment and the TOML file.

The command line wins over the environment, the environment over the file, the file over the default. A setting is
replaced as a whole: `CHATSERVER_PROVIDERS` replaces all providers of the file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from chatserver.errors import ConfigurationError
from chatserver.settings import ENVIRONMENT_PREFIX, Settings

# Variables of the tests: a server that a test starts inherits them.
FOREIGN_PREFIXES = ("CHATSERVER_TEST_",)


def variable_name(setting: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + setting.upper()


def option_name(setting: str) -> str:
    """The command-line option of a setting."""
    return "--" + setting.replace("_", "-")


def load_settings(config: Path | None, overrides: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """The settings of this process.

    `config`: the TOML file; None: there is none. `overrides`: the options of the command line, by the settings' names.
    `environment`: the variables of the process; those that begin with `CHATSERVER_` count.

    Raises ConfigurationError with one line that names the place, but not the value, which may be a secret.
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
        # utf-8-sig: editors on Windows put a byte order mark at the beginning.
        return tomllib.loads(config.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"{config}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{config}: is not UTF-8") from None
    except (ValueError, RecursionError) as error:  # besides TOMLDecodeError: a number of 5,000 digits
        raise ConfigurationError(f"{config}: is not valid TOML: {error}") from None


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    variables = {name: variable_name(name) for name in Settings.model_fields}
    return {name: environment[variable] for name, variable in variables.items() if variable in environment}


def _refuse_unknown_variables(settings: Settings, environment: Mapping[str, str]) -> None:
    known = {variable_name(name) for name in Settings.model_fields}
    known.update(provider.api_key_env for provider in settings.providers.values() if provider.api_key_env)
    for name in sorted(environment):
        ours = name.upper().startswith(ENVIRONMENT_PREFIX) and not name.startswith(FOREIGN_PREFIXES)
        if ours and name not in known:
            raise ConfigurationError(f"{_shown(name)}: no such setting")


def _inside(place: str, path: list[int | str]) -> str:
    """`providers` and `["main", "port"]` → `providers.main.port`, without the marks that pydantic adds to keys."""
    for step in path:
        if step != "[key]":
            place += f"[{step}]" if isinstance(step, int) else f".{_shown(step)}"
    return place


def _explained(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return "no such setting"
    return problem["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _shown(name: str) -> str:
    """A name from outside, made safe to print in one line."""
    return name if re.fullmatch(r"[\w.-]{1,80}", name) else json.dumps(name[:80])
