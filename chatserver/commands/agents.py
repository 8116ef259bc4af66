"""The commands `agent create` and `agent list`."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

import pydantic

from chatserver import logs
from chatserver.commands.parser import Commands, add_command, add_group, uuid
from chatserver.errors import ConfigurationError
from chatserver.settings import Settings
from chatserver.settings_reading import option_name

if TYPE_CHECKING:
    from chatserver.schemas import Agent, CreateAgent
    from chatserver.storage.postgres.database import Database

# The keys of an agent's adapterConfig that `agent create` takes as options.
LLM_OPTIONS = ("provider", "model", "system_prompt", "temperature", "max_tokens")


def add_agent(commands: Commands) -> None:
    agents = add_group(commands, "agent", "make and list agents")
    create = add_command(agents, "create", _create, "make an agent and print its id as the last word")
    create.add_argument("--name", required=True, help="what people call it")
    create.add_argument("--adapter", required=True, choices=("echo", "llm"), help="who answers: an echo, or a model")
    create.add_argument("--provider", help="llm: a provider of the settings")
    create.add_argument("--model", help="llm: the model (default: the provider's)")
    create.add_argument("--system-prompt", metavar="TEXT", help="llm: what the model is told first")
    create.add_argument("--temperature", type=float, metavar="T", help="llm: from 0 to 2")
    create.add_argument("--max-tokens", type=int, metavar="N", help="llm: the longest answer")
    listing = add_command(agents, "list", _list, "print a line for each agent, its id first")
    for command in (create, listing):
        command.add_argument(
            "--company", type=uuid, metavar="UUID", help="whose agent it is (default: default_company_id)"
        )


def _create(settings: Settings, arguments: argparse.Namespace) -> int:
    from chatserver.commands.database import with_database
    from chatserver.services.access import local_actor
    from chatserver.services.agents import AgentService
    from chatserver.services.provider_choice import company_providers

    company = arguments.company or settings.default_company_id
    wanted = _wanted(arguments)

    async def create(database: Database) -> Agent:
        return await AgentService(database, company_providers(settings)).create_agent(local_actor(), company, wanted)

    agent = with_database(settings, create)
    print(f"created agent {logs.printable(agent.name)}: {agent.id}")
    return 0


def _list(settings: Settings, arguments: argparse.Namespace) -> int:
    from chatserver.commands.database import with_database
    from chatserver.services.access import local_actor
    from chatserver.services.agents import AgentService
    from chatserver.services.provider_choice import company_providers

    company = arguments.company or settings.default_company_id

    async def every(database: Database) -> list[Agent]:
        agents = AgentService(database, company_providers(settings))
        found: list[Agent] = []
        cursor = None
        while True:
            page = await agents.list_agents(local_actor(), company, limit=100, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    for agent in with_database(settings, every):
        provider = agent.adapter_config.get("provider")
        adapter = agent.adapter_type + (f" ({provider})" if provider else "")
        print(f"{agent.id}  {adapter}  {logs.printable(agent.name)}")
    return 0


def _wanted(arguments: argparse.Namespace) -> CreateAgent:
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
