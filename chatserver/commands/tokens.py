"""The commands `token create`, `token list`, `token revoke` and `token change`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeVar

from chatserver.commands.lines import time_or, word
from chatserver.commands.parser import Commands, add_command, add_group, uuid
from chatserver.errors import ConfigurationError
from chatserver.person_names import same_name
from chatserver.role_names import ROLE_NAMES
from chatserver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Row

    from chatserver.storage.postgres.database import Database

T = TypeVar("T")

EXPIRES_DAYS = 365
MOST_DAYS = 36_500
NAME_CHARS = 200


def add_token(commands: Commands) -> None:
    tokens = add_group(commands, "token", "make, list, change and revoke the tokens that let people in")

    create = add_command(tokens, "create", _create, "make a token and print it as the last word; it is shown only now")
    whose = create.add_mutually_exclusive_group(required=True)
    whose.add_argument("--company", type=uuid, metavar="UUID", help="it belongs to this company")
    whose.add_argument("--admin", action="store_true", help="an administrator's: a manager of all companies")
    create.add_argument(
        "--name", required=True, type=_name, help="who uses it; in one company the same name is the same person"
    )
    create.add_argument("--role", choices=ROLE_NAMES, help="what it may do (default: member; with --admin: manager)")
    create.add_argument(
        "--expires",
        type=_days,
        metavar="DAYS",
        default=EXPIRES_DAYS,
        help=f"how long it is good; 0: for ever (default: {EXPIRES_DAYS})",
    )

    listing = add_command(tokens, "list", _list, "print a line for each token, its id first")
    listing.add_argument("--company", type=uuid, metavar="UUID", help="those of this company alone (default: all)")

    revoke = add_command(tokens, "revoke", _revoke, "make a token, or all of a company, worthless at once")
    revoke.add_argument("id", type=uuid, nargs="?", metavar="ID", help="the token's id, as `token list` shows it")
    revoke.add_argument("--all", action="store_true", help="all tokens of --company, or of --admin")
    some = revoke.add_mutually_exclusive_group()
    some.add_argument("--company", type=uuid, metavar="UUID", help="with --all: the company")
    some.add_argument("--admin", action="store_true", help="with --all: the administrators")

    change = add_command(tokens, "change", _change, "give a token another role, from its next request on")
    change.add_argument("id", type=uuid, metavar="ID", help="the token's id, as `token list` shows it")
    change.add_argument("--role", required=True, choices=ROLE_NAMES, help="what it may do from now on")


def _create(settings: Settings, arguments: argparse.Namespace) -> int:
    from chatserver import credentials
    from chatserver.storage import tokens

    role = arguments.role or ("manager" if arguments.admin else "member")
    if arguments.admin and role != "manager":
        raise ConfigurationError("--role: an administrator is a manager")
    token = credentials.new_token()
    row = _transaction(
        settings,
        tokens.create,
        digest=credentials.digest(token),
        company_id=arguments.company,
        name=arguments.name,
        role=role,
        expires_days=arguments.expires,
    )
    print(f"created token {row.id}, {_facts(row)}: {token}")
    return 0


def _list(settings: Settings, arguments: argparse.Namespace) -> int:
    from chatserver.storage import tokens

    for row in _transaction(settings, tokens.every, arguments.company):
        used, revoked = time_or(row.last_used_at, "never"), time_or(row.revoked_at, "no")
        print(f"{row.id} {_facts(row)} used={used} revoked={revoked}")
    return 0


def _revoke(settings: Settings, arguments: argparse.Namespace) -> int:
    from chatserver.storage import tokens

    chosen = arguments.company is not None or arguments.admin
    if (arguments.id is None) != arguments.all or arguments.all != chosen:
        raise ConfigurationError("token revoke needs an ID, or --all with --company or --admin")
    if arguments.all:
        number = _transaction(settings, tokens.revoke_all, arguments.company)
        print(f"revoked {number} token{'' if number == 1 else 's'}")
        return 0
    row = _transaction(settings, tokens.revoke, arguments.id)
    before = "" if row.revoked_at is None else " before"
    print(f"token {row.id} of {word(row.name)} was revoked{before}")
    return 0


def _change(settings: Settings, arguments: argparse.Namespace) -> int:
    from chatserver.storage import tokens

    row = _transaction(settings, tokens.change, arguments.id, arguments.role)
    print(f"token {row.id} of {word(row.name)} is {arguments.role} now; it was {row.role}")
    return 0


def _transaction(settings: Settings, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    from chatserver.commands.database import with_database

    async def work(database: Database) -> T:
        return await database.transaction(function, *args, **kwargs)

    return with_database(settings, work)


def _facts(row: Row[Any]) -> str:
    company = "administrator" if row.company_id is None else row.company_id
    created, expires = time_or(row.created_at, "never"), time_or(row.expires_at, "never")
    return f"{company} {row.role} {word(row.name)} created={created} expires={expires}"


# --- types of values ----------------------------------------------------------------------------------------


def _name(text: str) -> str:
    """A name in one of the ways in which Unicode writes it: people are told apart by their names."""
    name = same_name(text)
    if not 1 <= len(name) <= NAME_CHARS or not name.isprintable() or text != text.strip():
        raise argparse.ArgumentTypeError(f"should be 1 to {NAME_CHARS} visible characters, without blanks at its ends")
    return name


def _days(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text[:9]) <= MOST_DAYS and len(text) < 9):
        raise argparse.ArgumentTypeError(f"should be a number of days from 0 to {MOST_DAYS}")
    return int(text)
