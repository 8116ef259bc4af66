"""The command line: it parses options, loads the settings, and calls what a command does.

The commands are in `commands/`. Each imports what it needs when it is carried out: `--help` and `--version` load no
server.

Exit status: 0: all is well. 1: `doctor` found a fault, or a running server failed. 2: the command could not start, or
found nothing of what it was to change; one line on standard error says why.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from chatserver import logs
from chatserver.commands.agents import add_agent
from chatserver.commands.audit import add_audit
from chatserver.commands.erase import add_erase
from chatserver.commands.parser import CANNOT_START, FAILED, INTERRUPTED, Parser, overrides
from chatserver.commands.serving import add_doctor, add_migrate, add_serve
from chatserver.commands.tokens import add_token
from chatserver.errors import ChatServerError, ValidationError
from chatserver.settings import Settings
from chatserver.settings_reading import load_settings
from chatserver.version import installed_version

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. `argv`: the arguments after the program's name; None: those of this process."""
    _open_missing_streams()
    try:
        arguments = _parser().parse_args(argv)
        settings = load_settings(arguments.config, overrides(arguments), os.environ)
    except Exception as error:
        return _cannot_start(error)
    logs.configure(settings.log_level, settings.log_format, hold=True)
    try:
        return _carry_out(settings, arguments)
    finally:
        logs.close()


def _open_missing_streams() -> None:
    """Have standard output and standard error lead nowhere if they were closed, as by `2>&-`.

    They also keep their descriptors then, which a socket would get, and with it what was meant for them.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (it stays open)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _carry_out(settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        status: int = arguments.command(settings, arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if not logs.holding():
            logger.critical("the server failed", exc_info=error)
            return FAILED
        if settings.log_level == "debug":
            logger.critical("the start failed", exc_info=error)
            logs.release()
        return _cannot_start(error)
    logs.release(background=True)
    return status


def _cannot_start(error: Exception) -> int:
    if isinstance(error, ValidationError) and error.problems:
        message = "; ".join(f"{problem.path}: {problem.message}" for problem in error.problems)
    elif isinstance(error, ChatServerError):
        message = error.message
    else:
        message = f"{type(error).__name__}: {error}".removesuffix(": ")
    print(f"chatserver: {logs.printable(logs.scrub(message))}", file=sys.stderr)
    return CANNOT_START


# --- the parser --------------------------------------------------------------------------------------------


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_arguments: object) -> NoReturn:
        print(f"chatserver {installed_version()}")
        parser.exit()


def _parser() -> Parser:
    parser = Parser(prog="chatserver", description="A chat server that streams.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (add_serve, add_migrate, add_agent, add_token, add_audit, add_erase, add_doctor):
        add(commands)
    return parser
