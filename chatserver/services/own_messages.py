"""Members change only what they wrote themselves: looked at in the transaction that changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from chatserver.errors import NotFoundError
from chatserver.services.access import Actor, Role
from chatserver.storage import messages
from chatserver.storage.scope import Companies

P = ParamSpec("P")
T = TypeVar("T")
Change = Callable[Concatenate[Connection, Companies, UUID, UUID, P], T]
"""A change of a message: connection, companies, conversation, message, and what else it takes."""


def is_looked_at(actor: Actor) -> bool:
    """Whether it has to be looked at who wrote what the actor changes."""
    return not actor.has_everywhere(Role.MANAGER)


def if_allowed(actor: Actor, change: Change[P, T]) -> Change[P, T]:
    """`change`, in a transaction, for an actor who may have to have written the message.

    Raises NotFoundError if the message does not exist for the actor, and ForbiddenError if they may not change it.
    """
    if not is_looked_at(actor):
        return change

    def looked_at(
        connection: Connection,
        companies: Companies,
        conversation_id: UUID,
        message_id: UUID,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        # Neither role nor author of a message ever change, so no lock is needed.
        written = messages.written_by(connection, companies, conversation_id, message_id)
        if written is None:
            raise NotFoundError("Message not found")
        actor.require_change_of(written.company_id, written.role, written.author)
        return change(connection, companies, conversation_id, message_id, *args, **kwargs)

    return looked_at
