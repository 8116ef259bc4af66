"""The command `audit`."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chatserver.commands.lines import word
from chatserver.commands.parser import Commands, add_command, uuid
from chatserver.schema_types import format_time
from chatserver.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Row

    from chatserver.storage.postgres.database import Database

# Entries that are read at once.
ROWS = 1_000
_DURATION = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_audit(commands: Commands) -> None:
    audit = add_command(commands, "audit", _audit, "print the audit log, a line for each entry, the oldest first")
    audit.add_argument(
        "--since",
        type=_since,
        metavar="DURATION|DATE",
        help="entries from then on: so long ago, as 90m, 36h, 7d or 2w, or a date or time, as 2026-11-28 or "
        "2026-11-28T08:00:00Z (default: all)",
    )
    audit.add_argument("--company", type=uuid, metavar="UUID", help="entries about this company alone (default: all)")
    audit.add_argument("--json", action="store_true", help="print JSON objects, as docs/audit.md describes them")


def _since(text: str) -> datetime:
    duration = _DURATION.fullmatch(text)
    try:
        if duration is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[duration[2]]: int(duration[1])})
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            "should be a duration, as 36h or 7d, or a date, as 2026-11-28 or 2026-11-28T08:00:00Z"
        ) from None


def _audit(settings: Settings, arguments: argparse.Namespace) -> int:
    from chatserver.commands.database import with_database
    from chatserver.storage import audit

    write = _write_json if arguments.json else _write_text

    async def print_all(database: Database) -> None:
        last = None
        while True:
            rows = await database.autocommit(
                audit.page, since=arguments.since, company_id=arguments.company, after=last, limit=ROWS
            )
            for last in rows:
                write(last)
            if len(rows) < ROWS:
                return

    try:
        with_database(settings, print_all)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _entry(row: Row[Any]) -> dict[str, object]:
    return {
        "id": str(row.id),
        "at": format_time(row.at),
        "event": row.event,
        "version": row.version,
        "companyId": _text(row.company_id),
        "actor": row.actor,
        "tokenId": _text(row.token_id),
        "address": row.address,
        "requestId": row.request_id,
        "details": row.details,
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _write_json(row: Row[Any]) -> None:
    print(json.dumps(_entry(row)))


def _write_text(row: Row[Any]) -> None:
    """The keys of `details` are as in JSON. The others have short names, since `tokenId` may be among the details."""
    who = {
        "company": _text(row.company_id),
        "actor": row.actor,
        "token": _text(row.token_id),
        "address": row.address,
        "request": row.request_id,
    }
    shown = " ".join(f"{name}={word(value)}" for name, value in (who | row.details).items() if value is not None)
    print(f"{format_time(row.at)} {row.event:<21} {shown}".rstrip())
