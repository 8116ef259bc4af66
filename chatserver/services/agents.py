"""The use cases of agents."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic.alias_generators import to_camel
from sqlalchemy import Connection, Row

from chatserver.audit_events import AgentChanged, AgentCreated, AgentDeleted
from chatserver.errors import NotFoundError, Problem, ValidationError
from chatserver.schemas import Agent, CreateAgent, LlmConfig, Page, UpdateAgent
from chatserver.services.access import Actor
from chatserver.services.company_providers import CompanyProviders
from chatserver.services.to_wire import to_agent
from chatserver.storage import agents, audit
from chatserver.storage.agents import AgentStatusFilter
from chatserver.storage.postgres.database import Database
from chatserver.storage.scope import Companies

AgentPage = Page[Agent]

_CHANGEABLE = ("name", "adapter_type", "adapter_config")


class AgentService:
    """The first argument of each method is the actor. Raises NotFoundError for what does not exist for the actor."""

    def __init__(self, database: Database, providers: CompanyProviders) -> None:
        """`providers`: the configured ones. An agent may use no others, and only those of its company."""
        self._database = database
        self._providers = providers

    async def list_agents(
        self,
        actor: Actor,
        company_id: UUID,
        *,
        status: AgentStatusFilter = "active",
        limit: int = 30,
        cursor: str | None = None,
        heavy: bool = False,
    ) -> Page[Agent]:
        """A page of a company's agents, the oldest first, bounded in bytes.

        `status`: "all" lists those that were deleted, too. `heavy`: by the lane of heavy calls.

        Raises ForbiddenError for another company, ValidationError for a cursor of another list, and UnavailableError if
        too many heavy calls wait.
        """
        actor.require_company(company_id)
        calls = self._database.heavy(company_id) if heavy else self._database
        page = await calls.autocommit(
            agents.list_page, company_id=company_id, status=status, limit=limit, cursor=cursor
        )
        items = [to_agent(row) for row in page.rows]
        return AgentPage(items=items, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)

    async def create_agent(self, actor: Actor, company_id: UUID, body: CreateAgent) -> Agent:
        """Raises ForbiddenError for another company, ValidationError for a provider that is not configured."""
        actor.require_company(company_id)
        config = self._stored_config(company_id, body.adapter_config) if body.adapter_type == "llm" else {}
        row = await self._database.transaction(
            _create,
            company_id=company_id,
            name=body.name,
            adapter_type=body.adapter_type,
            adapter_config=config,
        )
        return to_agent(row)

    async def get_agent(self, actor: Actor, agent_id: UUID) -> Agent:
        row = await self._database.autocommit(agents.get, actor.scope, agent_id)
        if row is None:
            raise NotFoundError("Agent not found")
        return to_agent(row)

    async def update_agent(self, actor: Actor, agent_id: UUID, body: UpdateAgent) -> Agent:
        """Change the fields that `body` has, and no others; `adapterConfig` is replaced as a whole.

        Raises ValidationError for a provider that is not configured, and if an `llm` would be left without one.
        """
        return to_agent(await self._database.transaction(self._update, actor.scope, agent_id, body))

    async def delete_agent(self, actor: Actor, agent_id: UUID) -> None:
        """Remove an agent. From now on the default provider serves its conversations."""
        await self._database.transaction(_delete, actor.scope, agent_id)

    def _update(self, connection: Connection, companies: Companies, agent_id: UUID, body: UpdateAgent) -> Row[Any]:
        stored = agents.lock(connection, companies, agent_id)
        if stored is None:
            raise NotFoundError("Agent not found")
        given = body.model_fields_set
        adapter_type = body.adapter_type if "adapter_type" in given else stored.adapter_type
        if adapter_type == "echo":
            config: dict[str, Any] = {}
        elif "adapter_config" in given or not stored.adapter_config:
            config = self._stored_config(stored.company_id, body.adapter_config)
        else:
            config = stored.adapter_config
        changed = agents.change(
            connection,
            companies,
            agent_id,
            name=body.name if "name" in given else stored.name,
            adapter_type=adapter_type,
            adapter_config=config,
        )
        assert changed is not None, "the row is locked"
        names = [name for name in _CHANGEABLE if getattr(stored, name) != getattr(changed, name)]
        audit.record(
            connection,
            AgentChanged(
                company_id=changed.company_id,
                agent_id=agent_id,
                agent_name=changed.name,
                changed=tuple(map(to_camel, names)),
            ),
        )
        return changed

    def _stored_config(self, company_id: UUID, config: LlmConfig | None) -> dict[str, Any]:
        """The configuration of an `llm` as it is stored and shown: camelCase, without fields that are null."""
        if config is None or config.provider is None:
            raise ValidationError([Problem("adapterConfig.provider", "an agent of type llm needs a provider")])
        if not self._providers.may_use(company_id, config.provider):
            raise ValidationError([Problem("adapterConfig.provider", "is not a configured provider")])
        return config.model_dump(by_alias=True, exclude_none=True)


def _create(connection: Connection, /, **values: Any) -> Row[Any]:
    row = agents.create(connection, **values)
    audit.record(connection, AgentCreated(company_id=row.company_id, agent_id=row.id, agent_name=row.name))
    return row


def _delete(connection: Connection, companies: Companies, agent_id: UUID) -> None:
    row = agents.soft_delete(connection, companies, agent_id)
    if row is None:
        raise NotFoundError("Agent not found")
    audit.record(connection, AgentDeleted(company_id=row.company_id, agent_id=agent_id, agent_name=row.name))
