"""On whose behalf something is done: a handler tells it once, and the audit log reads it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple, Protocol
from uuid import UUID


class Sender(Protocol):
    """Where a request comes from."""

    @property
    def client(self) -> str:
        """The address of the client, behind trusted proxies."""


class Origin(NamedTuple):
    """A request, and who sent it. `actor` None: they are not signed in. `token_id` None: not by a token."""

    sender: Sender
    actor: str | None = None
    token_id: UUID | None = None


Share = UUID | str
"""Who takes of what all need: a company, or somebody of several companies, by name."""

origin: ContextVar[Origin | None] = ContextVar("origin", default=None)
"""The request that this context serves; None: it serves none. The database's threads have it, too."""

share: ContextVar[Share | None] = ContextVar("share", default=None)
"""Whose calls of the database this context makes; None: nobody's in particular."""
