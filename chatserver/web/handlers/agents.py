"""Agents over HTTP."""

from __future__ import annotations

from functools import partial

from chatserver.schemas import CreateAgent, UpdateAgent
from chatserver.services.access import Need
from chatserver.services.paging import in_pages
from chatserver.web.http.base_handler import ApiHandler
from chatserver.web.http.list_handler import ListHandler
from chatserver.web.http.parsing import parse_id
from chatserver.web.openapi.queries import ListAgents


class AgentsHandler(ListHandler, GET=Need.READER, POST=Need.MANAGER):
    async def get(self, company_id: str) -> None:
        company, query = parse_id(company_id), self.query(ListAgents)
        read = partial(self.context.agents.list_agents, self.actor, company, status=query.status)
        await self.write_list(in_pages(read, query.limit, query.cursor), company)

    async def post(self, company_id: str) -> None:
        company, body = parse_id(company_id), self.body(CreateAgent)
        self.write_json(await self.context.agents.create_agent(self.actor, company, body), 201)


class AgentHandler(ApiHandler, GET=Need.READER, PATCH=Need.MANAGER, DELETE=Need.MANAGER):
    async def get(self, agent_id: str) -> None:
        self.write_json(await self.context.agents.get_agent(self.actor, parse_id(agent_id)))

    async def patch(self, agent_id: str) -> None:
        agent, body = parse_id(agent_id), self.body(UpdateAgent)
        self.write_json(await self.context.agents.update_agent(self.actor, agent, body))

    async def delete(self, agent_id: str) -> None:
        await self.context.agents.delete_agent(self.actor, parse_id(agent_id))
        self.write_nothing()
