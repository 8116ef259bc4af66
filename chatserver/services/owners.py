"""Whose a resource is: for actors who may do more in one of their companies than in another."""

from __future__ import annotations

from uuid import UUID

from chatserver.services.access import Actor, Role, role_is_missing
from chatserver.storage import owners
from chatserver.storage.postgres.database import Database


class Owners:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def require_role(self, actor: Actor, role: Role, kind: str, resource_id: UUID) -> None:
        """Raises ForbiddenError if a resource is in a company of the actor's in which they lack the role.

        `kind`: the resource's segment in paths. What does not exist for the actor is left to whoever looks it up. The
        database is asked only if the answer depends on the company.
        """
        if actor.roles is None or all(held >= role for held in actor.roles.values()):
            return
        if kind == "companies":
            company_id: UUID | None = resource_id
        else:
            company_id = await self._database.autocommit(owners.company_of, kind, actor.scope, resource_id)
        if company_id is not None and company_id in actor.roles and not actor.has(role, company_id):
            raise role_is_missing(role)
