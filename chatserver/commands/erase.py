"""The command `erase`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from chatserver.commands.lines import word
from chatserver.commands.parser import FAILED, Commands, add_command, uuid
from chatserver.errors import ConfigurationError, NotFoundError
from chatserver.person_names import same_name
from chatserver.settings import Settings

if TYPE_CHECKING:
    from chatserver.services.erasing import Erased
    from chatserver.storage.postgres.database import Database


def add_erase(commands: Commands) -> None:
    erase = add_command(
        commands, "erase", _erase, "erase a company, or all that a person wrote, for good; docs/privacy.md says what"
    )
    erase.add_argument(
        "--company", type=uuid, metavar="UUID", help="all of this company; with --author: only what is in it"
    )
    erase.add_argument(
        "--author",
        type=same_name,
        metavar="NAME",
        help="the messages of this person, and the answers to them (default: of nobody)",
    )
    erase.add_argument("--yes", action="store_true", help="do not ask first, as it is done on a terminal")


def _erase(settings: Settings, arguments: argparse.Namespace) -> int:
    author, company = arguments.author, arguments.company
    if author is None and company is None:
        raise ConfigurationError("erase needs --company or --author")
    if not author and author is not None:
        raise ConfigurationError("--author: should be a name")
    where = "" if company is None else f" in company {company}"
    what = f"the company {company}" if author is None else f"all that {word(author)} wrote{where}"
    if not arguments.yes and not _agreed(what):
        print("nothing was erased")
        return FAILED

    from chatserver.commands.database import with_database
    from chatserver.services.erasing import Erasing

    async def work(database: Database) -> Erased:
        erasing = Erasing(database)
        if author is None:
            return await erasing.erase_company(company)
        return await erasing.erase_author(author, company)

    erased = with_database(settings, work, vacuum=True)
    if author is not None and not erased.messages:
        raise NotFoundError(f"nobody named {word(author)} wrote anything{where}; nothing was erased")
    if author is None:
        counts = f"conversations {erased.conversations}, agents {erased.agents}, tokens {erased.tokens}"
    else:
        counts = f"messages {erased.messages}, with the answers to them"
    print(f"erased {what}: {counts}")
    return 0


def _agreed(what: str) -> bool:
    """Ask a person who sits there; nobody else is asked."""
    if not sys.stdin.isatty():
        return True
    print(f"This erases {what}, for good. Type yes to go on: ", end="", flush=True)
    return sys.stdin.readline().strip() == "yes"
