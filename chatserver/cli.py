"""The command line: it parses options, loads the settings, and calls what a command does.

Exit status: 0: all is well. 1: `doctor` found a fault, or a running server failed. 2: the command could not start; one
line on standard error says why.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

import pydantic

from chatserver import logs
from chatserver.errors import ChatServerError, ConfigurationError, ValidationError
from chatserver.quick_provider import VARIABLES, with_quick_provider
from chatserver.schema_types import parse_uuid
from chatserver.settings import Settings
from chatserver.settings_reading import load_settings, option_name
from chatserver.version import installed_version

if TYPE_CHECKING:
    from chatserver.schemas import Agent, CreateAgent

logger = logging.getLogger(__name__)

FAILED = 1
CANNOT_START = 2
INTERRUPTED = 130

# The settings that are options of every command, and those of `serve` alone.
COMMON_SETTINGS = ("data_dir", "database_url")
SERVE_SETTINGS = ("host", "port")
# The keys of an agent's adapterConfig that `agent create` takes as options.
LLM_OPTIONS = ("provider", "model", "system_prompt", "temperature", "max_tokens")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. `argv`: the arguments after the program's name; None: those of this process."""
    _open_missing_streams()
    try:
        arguments = _parser().parse_args(argv)
        settings = load_settings(arguments.config, _overrides(arguments), os.environ)
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


# --- commands ----------------------------------------------------------------------------------------------
# Each command imports what it needs: `--help` and `--version` load no server.


def _serve(settings: Settings, arguments: argparse.Namespace) -> int:
    settings = _with_provider(settings, arguments)
    # On again when the server is ready: see serving.py.
    gc.disable()
    try:
        from chatserver.server import serve

        return serve(settings, reuse_port=arguments.reuse_port, local_model=arguments.local_model)
    finally:
        gc.enable()


def _with_provider(settings: Settings, arguments: argparse.Namespace) -> Settings:
    if arguments.provider is not None:
        return with_quick_provider(settings, arguments.provider, arguments.model, os.environ)
    if arguments.model is not None:
        raise ConfigurationError("--model: is of use with --provider only")
    return settings


def _migrate(settings: Settings, _arguments: argparse.Namespace) -> int:
    from chatserver.storage.postgres.provision import provided_database

    with provided_database(settings):
        print("the database is up to date")
    return 0


def _agent_create(settings: Settings, arguments: argparse.Namespace) -> int:
    import asyncio

    from chatserver.app import open_agents
    from chatserver.services.access import local_actor
    from chatserver.storage.postgres.provision import provided_database

    company = arguments.company or settings.default_company_id
    wanted = _wanted_agent(arguments)

    async def create(url: str) -> Agent:
        async with open_agents(settings, url) as agents:
            return await agents.create_agent(local_actor(), company, wanted)

    with provided_database(settings) as database:
        agent = asyncio.run(create(database.url))
    print(f"created agent {logs.printable(agent.name)}: {agent.id}")
    return 0


def _agent_list(settings: Settings, arguments: argparse.Namespace) -> int:
    import asyncio

    from chatserver.app import open_agents
    from chatserver.services.access import local_actor
    from chatserver.storage.postgres.provision import provided_database

    company = arguments.company or settings.default_company_id

    async def every(url: str) -> list[Agent]:
        found: list[Agent] = []
        cursor = None
        async with open_agents(settings, url) as agents:
            while True:
                page = await agents.list_agents(local_actor(), company, limit=100, cursor=cursor)
                found += page.items
                cursor = page.next_cursor
                if cursor is None:
                    return found

    with provided_database(settings) as database:
        for agent in asyncio.run(every(database.url)):
            provider = agent.adapter_config.get("provider")
            adapter = agent.adapter_type + (f" ({provider})" if provider else "")
            print(f"{agent.id}  {adapter}  {logs.printable(agent.name)}")
    return 0


def _doctor(_settings: Settings, arguments: argparse.Namespace) -> int:
    from chatserver.doctor import examine

    return 0 if examine(arguments.url, sys.stdout) else FAILED


def _wanted_agent(arguments: argparse.Namespace) -> CreateAgent:
    from chatserver.schemas import CreateAgent

    given = {name: getattr(arguments, name) for name in LLM_OPTIONS if getattr(arguments, name) is not None}
    if arguments.adapter == "echo" and given:
        raise ConfigurationError(f"{option_name(next(iter(given)))}: is of use with --adapter llm only")
    if arguments.adapter == "llm" and arguments.provider is None:
        raise ConfigurationError("--adapter llm needs --provider")
    try:
        return CreateAgent.model_validate(
            {"name": arguments.name, "adapter_type": arguments.adapter, "adapter_config": given or None}
        )
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        option = re.sub("([A-Z])", lambda capital: "_" + capital[0].lower(), str(problem["loc"][-1]))
        reason = problem["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{option_name(option)}: {reason}") from None


# --- the parser --------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:  # not `parser.error`, which prints the usage as well
        raise ConfigurationError(f"{message} (see {self.prog} --help)")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_arguments: object) -> NoReturn:
        print(f"chatserver {installed_version()}")
        parser.exit()


def _parser() -> _Parser:
    parser = _Parser(prog="chatserver", description="A chat server that streams.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = _command(commands, "serve", _serve, "run the server")
    _add_settings(serve, SERVE_SETTINGS)
    serve.add_argument("--reuse-port", action="store_true", help="let several processes share the port")
    serve.add_argument(
        "--local-model", action="store_true", help="run a small model on this machine, which answers by default"
    )
    serve.add_argument(
        "--provider",
        choices=tuple(VARIABLES),
        help="who answers by default, without a file: OpenAI (its key in OPENAI_API_KEY), Anthropic "
        "(ANTHROPIC_API_KEY), or Ollama (OLLAMA_HOST; default: this machine)",
    )
    serve.add_argument("--model", help="of --provider (default: one that suits most; Ollama's newest one)")

    _command(commands, "migrate", _migrate, "bring the database to this version's schema")

    agent = commands.add_parser("agent", help="make and list agents", allow_abbrev=False)
    agents = agent.add_subparsers(title="commands", required=True, metavar="COMMAND")
    create = _command(agents, "create", _agent_create, "make an agent and print its id as the last word")
    create.add_argument("--name", required=True, help="what people call it")
    create.add_argument("--adapter", required=True, choices=("echo", "llm"), help="who answers: an echo, or a model")
    create.add_argument("--provider", help="llm: a provider of the settings")
    create.add_argument("--model", help="llm: the model (default: the provider's)")
    create.add_argument("--system-prompt", metavar="TEXT", help="llm: what the model is told first")
    create.add_argument("--temperature", type=float, metavar="T", help="llm: from 0 to 2")
    create.add_argument("--max-tokens", type=int, metavar="N", help="llm: the longest answer")
    listing = _command(agents, "list", _agent_list, "print a line for each agent, its id first")
    for command in (create, listing):
        command.add_argument(
            "--company", type=_uuid, metavar="UUID", help="whose agent it is (default: default_company_id)"
        )

    doctor = _command(commands, "doctor", _doctor, "check a running server from where its users are")
    doctor.add_argument("url", metavar="URL", help="where it is reached, such as https://chat.example.org")
    return parser


def _command(
    commands: argparse._SubParsersAction[_Parser],
    name: str,
    function: object,
    meaning: str,
) -> _Parser:
    parser = commands.add_parser(name, help=meaning, description=meaning.capitalize() + ".", allow_abbrev=False)
    parser.set_defaults(command=function)
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of settings (default: none)")
    _add_settings(parser, COMMON_SETTINGS)
    return parser


def _add_settings(parser: _Parser, names: Sequence[str]) -> None:
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


def _overrides(arguments: argparse.Namespace) -> dict[str, object]:
    given = vars(arguments)
    return {name: given[name] for name in COMMON_SETTINGS + SERVE_SETTINGS if given.get(name) is not None}


def _uuid(text: str) -> UUID:
    try:
        return parse_uuid(text)
    except ValueError:
        raise argparse.ArgumentTypeError("should be a UUID in its 36-character form") from None
