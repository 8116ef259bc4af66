"""The events of the audit log: a closed set, each with a version and its details.

Details are ids, names and numbers, never what was said. If the details of an event change their meaning, or one of them
goes away, its version goes up; a new one may be added without. docs/audit.md lists all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from pydantic.alias_generators import to_camel

from chatserver.schema_types import format_time

SignInWay = Literal["session", "bearer"]
SignInFailure = Literal["unknown", "expired", "revoked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """What happened. `company_id` None: it is about no company, or about all. All other fields are details."""

    name: ClassVar[str]
    version: ClassVar[int] = 1

    company_id: UUID | None = None

    def details(self) -> Mapping[str, object]:
        """The details as JSON has them; their keys are camelCase."""
        names = (field.name for field in fields(self))
        return {to_camel(name): _plain(getattr(self, name)) for name in names if name != "company_id"}


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


# --- who is there -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn(AuditEvent):
    """A browser was signed in with a token. The entry's actor and token are those that it got."""

    name = "sign_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInFailed(AuditEvent):
    """A token was refused: when a browser wanted to sign in with it, or as the bearer of a request.

    `unrecorded`: how many more were refused, since the entry before, without an entry of their own.
    """

    name = "sign_in_failed"

    way: SignInWay
    reason: SignInFailure
    unrecorded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOut(AuditEvent):
    """A browser was signed out. `everywhere`: so were all others that the same token had signed in."""

    name = "sign_out"

    everywhere: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AdministratorRead(AuditEvent):
    """An administrator read in a company; one entry stands for ten minutes."""

    name = "administrator_read"


# --- tokens -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCreated(AuditEvent):
    """`expires_at` None: never."""

    name = "token_created"

    token_id: UUID
    token_name: str
    role: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevoked(AuditEvent):
    name = "token_revoked"

    token_id: UUID
    token_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChanged(AuditEvent):
    name = "token_changed"

    token_id: UUID
    token_name: str
    former_role: str
    role: str


# --- agents -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCreated(AuditEvent):
    name = "agent_created"

    agent_id: UUID
    agent_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentChanged(AuditEvent):
    """`changed`: the names of the fields that are different now."""

    name = "agent_changed"

    agent_id: UUID
    agent_name: str
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDeleted(AuditEvent):
    name = "agent_deleted"

    agent_id: UUID
    agent_name: str


# --- what leaves, and what is erased ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationExported(AuditEvent):
    name = "conversation_exported"

    conversation_id: UUID
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageErased(AuditEvent):
    """`answers`: how many answers to it were erased with it."""

    name = "message_erased"

    conversation_id: UUID
    message_id: UUID
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationErased(AuditEvent):
    name = "conversation_erased"

    conversation_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyErased(AuditEvent):
    """A step of erasing a company. `conversation_ids`: those that it erased; `completed`: nothing is left."""

    name = "company_erased"

    conversation_ids: tuple[UUID, ...] = ()
    agents: int = 0
    tokens: int = 0
    completed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorErased(AuditEvent):
    """All that a person wrote was erased: `messages` by this command. Each of them has its own entry."""

    name = "author_erased"

    author: str
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionErased(AuditEvent):
    """A step of erasing what was kept for long enough. `after_days`: what the setting of that name says."""

    name = "retention_erased"

    setting: Literal["retention_days", "purge_deleted_days"]
    after_days: int
    conversation_ids: tuple[UUID, ...]
