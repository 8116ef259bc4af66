"""Who sends a request, and what they may do: every rule of it.

Each operation says what it needs (`Need`), and a handler is dispatched only for an `Actor` who has that. Each query
takes the actor's companies (`Actor.scope`): what belongs to others does not exist. An `Authenticator` finds out who it
is.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol
from uuid import UUID

from chatserver.errors import ForbiddenError
from chatserver.role_names import ROLE_NAMES, RoleName
from chatserver.storage.scope import Companies

if TYPE_CHECKING:
    from tornado.httputil import HTTPHeaders

API = "/api"

Mode = Literal["local_trusted", "authenticated", "proxy"]


class Role(enum.IntEnum):
    """What somebody may do in a company; each may all that those before it may."""

    READER = 1
    """Read, and follow answers that others began."""
    MEMBER = 2
    """Write, ask and stop; edit and erase their own messages."""
    MANAGER = 3
    """Make and change agents; add messages of other roles than `user`; change and erase what others wrote."""

    @property
    def label(self) -> RoleName:
        """Its name outside of the code."""
        return _LABELS[self]

    @classmethod
    def of(cls, label: str) -> Role:
        """The role of that name. Raises KeyError."""
        return _ROLES[label]


_LABELS: Mapping[Role, RoleName] = dict(zip(Role, ROLE_NAMES, strict=True))
_ROLES: Mapping[str, Role] = {label: role for role, label in _LABELS.items()}


class Need(enum.Enum):
    """What an operation needs from whoever asks for it."""

    NOTHING = "nothing"
    OPERATOR = "a connection from this machine or from a trusted proxy itself, or an administrator"
    READER = "the role reader"
    MEMBER = "the role member"
    MANAGER = "the role manager"

    role: Role | None
    """The role that it needs in the company of whatever it is about; None: it needs no role."""

    def __init__(self, _: str) -> None:
        self.role = Role.__members__.get(self.name)


class Access(NamedTuple):
    """By what an actor has access: what goes on for them ends with it, and when the token's role is changed.

    `session_id` None: by no session of a browser.
    """

    token_id: UUID
    role: RoleName
    session_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """The sender of a request. `roles`: what they are in their companies; None: an administrator, manager of all.

    `author`: the name that their messages bear; None: they are not signed in. `access` None: nobody can take it away.
    `until`: when, in seconds of `time.monotonic`, they have to be asked for anew who they are; None: never.
    """

    name: str
    roles: Mapping[UUID, Role] | None = None
    author: str | None = None
    access: Access | None = None
    until: float | None = None

    @property
    def companies(self) -> frozenset[UUID] | None:
        """The companies whose resources exist for the actor; None: all."""
        return None if self.roles is None else frozenset(self.roles)

    def companies_as(self, role: Role) -> frozenset[UUID] | None:
        """The companies in which the actor has that role, or a higher one; None: all. May be empty."""
        if self.roles is None:
            return None
        return frozenset(company for company, held in self.roles.items() if held >= role)

    @property
    def scope(self) -> Companies:
        """`companies`, as the storage takes them."""
        return None if self.roles is None else tuple(self.roles)

    @property
    def is_administrator(self) -> bool:
        return self.roles is None

    def role_in(self, company_id: UUID) -> Role | None:
        """None: the company is not the actor's."""
        return Role.MANAGER if self.roles is None else self.roles.get(company_id)

    def has(self, role: Role, company_id: UUID) -> bool:
        """Whether the actor has that role, or a higher one, in a company."""
        return (self.role_in(company_id) or 0) >= role

    def has_everywhere(self, role: Role) -> bool:
        """Whether the actor has that role, or a higher one, in all their companies."""
        return self.roles is None or all(held >= role for held in self.roles.values())

    @property
    def only_company(self) -> UUID | None:
        """The actor's company, if they have just one."""
        return next(iter(self.roles)) if self.roles is not None and len(self.roles) == 1 else None

    def acting_as(self, role: Role) -> Actor:
        """The actor, with only those companies in which they have that role. Raises ForbiddenError without any."""
        if self.roles is None:
            return self
        if not self.roles:
            raise ForbiddenError("You belong to no company here")
        if self.has_everywhere(role):
            return self
        kept = {company: held for company, held in self.roles.items() if held >= role}
        if not kept:
            raise role_is_missing(role)
        return replace(self, roles=kept)

    def require_company(self, company_id: UUID) -> None:
        """Raises ForbiddenError for a company that is not the actor's."""
        if self.roles is not None and company_id not in self.roles:
            raise ForbiddenError("Not your company")

    def require_change_of(self, company_id: UUID, role: str, author: str | None) -> None:
        """Raises ForbiddenError unless the actor may edit or erase a message of that company, role and author."""
        is_own = role == "user" and author is not None and author == self.author
        if not is_own and not self.has(Role.MANAGER, company_id):
            raise ForbiddenError("It takes the role manager to change what others wrote")


def role_is_missing(role: Role) -> ForbiddenError:
    return ForbiddenError(f"It takes the role {role.label}")


_BOARD = Actor(name="board")


def local_actor() -> Actor:
    """Everyone on this machine: the board."""
    return _BOARD


class Caller(Protocol):
    """Where a request comes from."""

    @property
    def is_proxy(self) -> bool:
        """Whether the other end of the connection is a trusted proxy."""

    @property
    def is_other_page(self) -> bool:
        """Whether it is a page of another site. It may show a token; what a browser adds by itself does not count."""

    @property
    def is_secure(self) -> bool:
        """Whether the client's connection is TLS, as this server or a trusted proxy knows it."""

    @property
    def address(self) -> str:
        """The client's, behind trusted proxies, as clients are counted."""


class Authenticator(Protocol):
    """Finds out who sent a request."""

    @property
    def mode(self) -> Mode: ...

    async def authenticate(self, headers: HTTPHeaders, caller: Caller) -> Actor:
        """The actor whom the request's credentials name.

        Raises NotSignedInError, RateLimitedError for an address that has sent too many bad ones, and UnavailableError.
        """

    def known_client(self, headers: HTTPHeaders, caller: Caller) -> str | None:
        """Whom a request is counted for: its address, if it bears no credentials, else whose these are.

        None: it bears some, and the database has to be asked whose they are.
        """


class LocalTrusted:
    """Trusts everyone who reaches a loopback address. The guards keep pages of other sites away."""

    mode: Mode = "local_trusted"

    async def authenticate(self, headers: Mapping[str, str], caller: Caller) -> Actor:  # noqa: ARG002
        return local_actor()

    def known_client(self, headers: Mapping[str, str], caller: Caller) -> str | None:  # noqa: ARG002
        return caller.address
