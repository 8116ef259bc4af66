"""Who sends a request, and which companies they may see.

Use cases are handed an `Actor`. An `Authenticator` finds it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from chatserver.errors import ForbiddenError
from chatserver.storage.scope import Companies

API = "/api"


@dataclass(frozen=True, slots=True)
class Actor:
    """The sender of a request. `companies`: those whose resources exist for the actor; None: all."""

    name: str
    companies: frozenset[UUID] | None

    @property
    def scope(self) -> Companies:
        """`companies`, as the storage takes them."""
        return None if self.companies is None else tuple(self.companies)

    def require_company(self, company_id: UUID) -> None:
        """Raises ForbiddenError for a company that is not the actor's."""
        if self.companies is not None and company_id not in self.companies:
            raise ForbiddenError("Not your company")


def local_actor() -> Actor:
    """Everyone on this machine: the board."""
    return Actor(name="board", companies=None)


class Authenticator(Protocol):
    """Finds out who sent a request. `headers` are a case-insensitive mapping."""

    @property
    def mode(self) -> Literal["local_trusted", "authenticated"]: ...

    async def authenticate(self, headers: Mapping[str, str]) -> Actor:
        """The actor whom the request's credentials name. Raises NotSignedInError."""


class LocalTrusted:
    """Trusts everyone who reaches a loopback address. The guards keep pages of other sites away."""

    mode: Literal["local_trusted"] = "local_trusted"

    async def authenticate(self, headers: Mapping[str, str]) -> Actor:  # noqa: ARG002
        return local_actor()
