"""Whose a resource is, and which companies there are: for actors of several companies, and for the audit log."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

from chatserver.services.access import Actor, Role, role_is_missing
from chatserver.storage import companies, owners
from chatserver.storage.postgres.database import Database

# The most companies that an administrator is told of.
MAX_COMPANIES = 100
# Of how many resources this process remembers whose they are. That never changes.
MAX_RESOURCES = 10_000


class Owners:
    def __init__(self, database: Database, default_company_id: UUID) -> None:
        """`default_company_id`: the company that is there from the start, even if it has nothing."""
        self._database = database
        self._default = default_company_id
        self._companies: OrderedDict[UUID, UUID] = OrderedDict()

    async def companies_to_choose(self, actor: Actor) -> Sequence[UUID]:
        """The companies that an actor may choose from; they begin with the first: the default one, if it is theirs.

        An administrator's are those that have anything, MAX_COMPANIES at most; everyone's on this machine is one.
        """
        found = actor.companies
        if found is None and actor.author is not None:
            found = frozenset(await self._database.autocommit(companies.with_anything, MAX_COMPANIES))
        if found is None or (actor.is_administrator and not found):
            return (self._default,)
        return sorted(found, key=lambda company: (company != self._default, company))

    async def company_of(self, kind: str, resource_id: UUID) -> UUID | None:
        """The company of a resource, deleted or not; None: there is no such resource.

        `kind`: the resource's segment in paths. Raises DatabaseUnavailableError.
        """
        if kind == "companies":
            return resource_id
        if resource_id in self._companies:
            return self._companies[resource_id]
        company_id = await self._database.autocommit(owners.company_of, kind, resource_id)
        if company_id is not None:
            self._companies[resource_id] = company_id
            if len(self._companies) > MAX_RESOURCES:
                self._companies.popitem(last=False)
        return company_id

    async def company_of_conversation(self, actor: Actor, conversation_id: UUID) -> UUID | None:
        """The company whose a conversation is, if it exists for the actor; None: it does not.

        The database is asked only if the actor has several companies: for an actor of one, whatever exists is of that.
        """
        if actor.only_company is not None:
            return actor.only_company
        company_id = await self.company_of("conversations", conversation_id)
        return None if company_id is None or actor.role_in(company_id) is None else company_id

    async def require_role(self, actor: Actor, role: Role, kind: str, resource_id: UUID) -> None:
        """Raises ForbiddenError if a resource is in a company of the actor's in which they lack the role.

        `kind`: the resource's segment in paths. What does not exist for the actor is left to whoever looks it up. The
        database is asked only if the answer depends on the company.
        """
        if actor.roles is None or actor.has_everywhere(role):
            return
        company_id = await self.company_of(kind, resource_id)
        if company_id is not None and company_id in actor.roles and not actor.has(role, company_id):
            raise role_is_missing(role)
