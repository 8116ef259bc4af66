"""The events of the audit log: a closed set, described in docs/audit.md, with ids, names and numbers for details."""

from __future__ import annotations

import dataclasses
import re
import typing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from chatserver import audit_events
from chatserver.audit_events import AuditEvent, CompanyErased, TokenCreated

DOCS = Path(__file__).resolve().parents[2] / "docs/audit.md"
ROW = re.compile(r"^\| `(\w+)` \| (\d+) \|([`\w ]*)\|", re.MULTILINE)
# The details that are texts are names: of a person, a token, an agent, a role, a format.
NAMES = {"token_name", "role", "former_role", "agent_name", "author", "format"}
EVENTS = [
    each
    for each in vars(audit_events).values()
    if isinstance(each, type) and issubclass(each, AuditEvent) and each is not AuditEvent
]


def test_every_event_is_described_as_it_is() -> None:
    described = {name: (int(version), details.split()) for name, version, details in ROW.findall(DOCS.read_text())}
    assert described == {
        event.name: (
            event.version,
            [f"`{_camel(field.name)}`" for field in dataclasses.fields(event) if field.name != "company_id"],
        )
        for event in EVENTS
    }
    assert len({event.name for event in EVENTS}) == len(EVENTS) == 16


def _camel(name: str) -> str:
    return re.sub("_(.)", lambda found: found[1].upper(), name)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_details_are_ids_names_and_numbers(event: type[AuditEvent]) -> None:
    for name, kind in typing.get_type_hints(event).items():
        if name in {"name", "version"}:
            continue
        if kind is str:
            assert name in NAMES, name
        elif typing.get_origin(kind) is typing.Literal:
            assert all(re.fullmatch(r"[a-z_]+", value) for value in typing.get_args(kind))
        else:
            allowed = (UUID, UUID | None, datetime | None, int, bool, tuple[UUID, ...], tuple[str, ...])
            assert kind in allowed, (name, kind)


def test_details_are_as_json_has_them() -> None:
    identity = UUID(int=7)
    moment = datetime(2026, 11, 28, 8, 0, 0, 5_000, tzinfo=UTC)
    token = TokenCreated(company_id=identity, token_id=identity, token_name="A", role="member", expires_at=moment)
    assert token.details() == {
        "tokenId": str(identity),
        "tokenName": "A",
        "role": "member",
        "expiresAt": "2026-11-28T08:00:00.005Z",
    }
    assert CompanyErased(conversation_ids=(identity,)).details() == {
        "conversationIds": [str(identity)],
        "agents": 0,
        "tokens": 0,
        "completed": False,
    }
