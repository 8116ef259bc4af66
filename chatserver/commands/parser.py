"""What the parsers of all commands share: errors in one line, options that name settings, the types of values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias
from uuid import UUID

from chatserver.errors import ConfigurationError
from chatserver.schema_types import parse_uuid
from chatserver.settings import Settings
from chatserver.settings_reading import option_name

FAILED = 1
CANNOT_START = 2
INTERRUPTED = 130

# The settings that are options of every command, and those of `serve` alone.
COMMON_SETTINGS = ("data_dir", "database_url")
SERVE_SETTINGS = ("host", "port")

Command = Callable[[Settings, argparse.Namespace], int]
"""Carries out a command; its exit status."""


class Parser(argparse.ArgumentParser):
    """Raises ConfigurationError where argparse would print the usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message} (see {self.prog} --help)")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_group(commands: Commands, name: str, meaning: str) -> Commands:
    """Commands whose names begin with `name`."""
    group = commands.add_parser(name, help=meaning, allow_abbrev=False)
    return group.add_subparsers(title="commands", required=True, metavar="COMMAND")


def add_command(commands: Commands, name: str, function: Command, meaning: str) -> Parser:
    """A command with the options that all have."""
    parser = commands.add_parser(name, help=meaning, description=meaning.capitalize() + ".", allow_abbrev=False)
    parser.set_defaults(command=function)
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of settings (default: none)")
    add_settings(parser, COMMON_SETTINGS)
    return parser


def add_settings(parser: Parser, names: Sequence[str]) -> None:
    """The options that name settings, without those that were not given. Their values are checked with all settings."""
    for name in names:
        field = Settings.model_fields[name]
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None else f" (default: {default})"
        parser.add_argument(
            option_name(name),
            metavar=name.rpartition("_")[2].upper(),
            default=None,
            help=f"{field.description}{shown}".replace("%", "%%"),
        )


def overrides(arguments: argparse.Namespace) -> dict[str, object]:
    """The settings that were given as options."""
    given = vars(arguments)
    return {name: given[name] for name in COMMON_SETTINGS + SERVE_SETTINGS if given.get(name) is not None}


# --- types of values ----------------------------------------------------------------------------------------


def uuid(text: str) -> UUID:
    try:
        return parse_uuid(text)
    except ValueError:
        raise argparse.ArgumentTypeError("should be a UUID in its 36-character form") from None
